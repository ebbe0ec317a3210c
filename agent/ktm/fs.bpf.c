/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * How long the database waits until what it wrote is on the disk: fsync(2) and fdatasync(2).
 *
 * The one idea: these calls have tracepoints of their own, so that no other call pays for them.
 */
#include "kernel.h"
#include "latency.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum operation { FSYNC, FDATASYNC, OPERATIONS };

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} begun SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPERATIONS);
	__type(key, u32);
	__type(value, struct latency);
} syncs SEC(".maps");

static __always_inline int begin(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	u64 *at_ns;

	if (!is_wanted(task))
		return 0;
	at_ns = bpf_task_storage_get(&begun, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (at_ns)
		*at_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int end(u32 operation, s64 result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	u64 *at_ns = bpf_task_storage_get(&begun, task, 0, 0);
	struct latency *one;

	if (!at_ns || !*at_ns)
		return 0;
	one = bpf_map_lookup_elem(&syncs, &operation);
	if (one && result < 0)
		one->errors++;
	else if (one)
		note(one, bpf_ktime_get_ns() - *at_ns);
	*at_ns = 0;
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_fsync")
int fsync_begin(void *record)
{
	return begin();
}

SEC("tracepoint/syscalls/sys_exit_fsync")
int fsync_end(struct exit_of_syscall *record)
{
	return end(FSYNC, record->result);
}

SEC("tracepoint/syscalls/sys_enter_fdatasync")
int fdatasync_begin(void *record)
{
	return begin();
}

SEC("tracepoint/syscalls/sys_exit_fdatasync")
int fdatasync_end(struct exit_of_syscall *record)
{
	return end(FDATASYNC, record->result);
}
