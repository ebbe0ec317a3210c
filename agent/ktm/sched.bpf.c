/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * How long the database's threads wait for a processor although they could run.
 *
 * The one idea: the wait begins when a thread is woken, or loses its processor while it still could
 * run, and ends when it is switched in. Both are about a task that is not the current one.
 */
#define OFTEN
#include "kernel.h"
#include "latency.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define RUNNABLE 0

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct latency);
} waits SEC(".maps");

static __always_inline int begin(struct task_struct *task)
{
	u64 *since_ns;

	if (!is_wanted(task))
		return 0;
	since_ns = bpf_task_storage_get(&waiting, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (since_ns)
		*since_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sched_wakeup")
int wakeup(u64 *context)
{
	return begin((struct task_struct *)context[0]);
}

SEC("tp_btf/sched_wakeup_new")
int wakeup_new(u64 *context)
{
	return begin((struct task_struct *)context[0]);
}

SEC("tp_btf/sched_switch")
int switched(u64 *context)
{
	struct task_struct *before = (struct task_struct *)context[1];
	struct task_struct *next = (struct task_struct *)context[2];
	struct latency *one;
	u64 *since_ns;
	u32 zero = 0;

	if (before->__state == RUNNABLE)
		begin(before);
	since_ns = bpf_task_storage_get(&waiting, next, 0, 0);
	if (!since_ns || !*since_ns)
		return 0;
	one = bpf_map_lookup_elem(&waits, &zero);
	if (one)
		note(one, bpf_ktime_get_ns() - *since_ns);
	*since_ns = 0;
	return 0;
}
