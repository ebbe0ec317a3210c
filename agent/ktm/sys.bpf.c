/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reads of the database as it waits for them: read(2), pread64(2), and what it advises of files.
 *
 * The one idea: who calls is judged once, when a call begins; its beginning is kept with the task
 * itself, so that a call of anybody else costs one comparison at its end. Per-CPU counters need no
 * atomic operation, because a program is not interrupted by itself on its CPU.
 */
#define OFTEN
#include "kernel.h"
#include "latency.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum operation { READ_FILE, READ_OTHER, PREAD, OPERATIONS, NONE = OPERATIONS };

#define ADVICES 8
#define FILE_TYPE 0170000
#define REGULAR_FILE 0100000

struct begun {
	u64 at_ns;
	u32 operation;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct begun);
} begun SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPERATIONS);
	__type(key, u32);
	__type(value, struct latency);
} reads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ADVICES);
	__type(key, u32);
	__type(value, u64);
} advices SEC(".maps");

static __always_inline bool is_regular(struct task_struct *task, u32 descriptor)
{
	struct fdtable *table = task->files->fdt;
	struct file **files = table->fd;
	struct file *file = 0;

	if (descriptor >= table->max_fds)
		return false;
	if (bpf_probe_read_kernel(&file, sizeof(file), files + descriptor) || !file)
		return false;
	return (BPF_CORE_READ(file, f_inode, i_mode) & FILE_TYPE) == REGULAR_FILE;
}

static __always_inline void advised(u32 advice)
{
	u64 *count;

	if (advice >= ADVICES)
		advice = ADVICES - 1;
	count = bpf_map_lookup_elem(&advices, &advice);
	if (count)
		(*count)++;
}

SEC("tp_btf/sys_enter")
int sys_enter(u64 *context)
{
	struct pt_regs *registers = (void *)context[0];
	long number = context[1];
	struct task_struct *task;
	struct begun *begins;
	u32 operation = PREAD;

	if (number != NR_PREAD64 && number != NR_READ && number != NR_FADVISE64)
		return 0;
	task = (struct task_struct *)bpf_get_current_task_btf();
	if (!is_wanted(task))
		return 0;
	if (number == NR_FADVISE64) {
		advised(FOURTH_ARGUMENT(registers));
		return 0;
	}
	if (number == NR_READ)
		operation = is_regular(task, FIRST_ARGUMENT(registers)) ? READ_FILE : READ_OTHER;
	begins = bpf_task_storage_get(&begun, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!begins)
		return 0;
	begins->operation = operation;
	begins->at_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sys_exit")
int sys_exit(u64 *context)
{
	struct pt_regs *registers = (void *)context[0];
	long result = context[1];
	long number = SYSCALL_OF(registers);
	struct task_struct *task;
	struct begun *begins;
	struct latency *one;
	u64 at_ns;
	u32 operation;

	if (number != NR_PREAD64 && number != NR_READ)
		return 0;
	task = (struct task_struct *)bpf_get_current_task_btf();
	/* Most tasks have no storage at all: to see that costs less than to ask for it. */
	if (bpf_core_field_exists(task->bpf_storage) && !task->bpf_storage)
		return 0;
	begins = bpf_task_storage_get(&begun, task, 0, 0);
	if (!begins || !begins->at_ns)
		return 0;
	at_ns = begins->at_ns;
	operation = begins->operation;
	begins->at_ns = 0;
	one = bpf_map_lookup_elem(&reads, &operation);
	if (!one)
		return 0;
	if (result < 0) {
		one->errors++;
		return 0;
	}
	one->bytes += result;
	note(one, bpf_ktime_get_ns() - at_ns);
	return 0;
}
