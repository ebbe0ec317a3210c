/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Stacks of the database's threads: where they run, and where they wait.
 *
 * The one idea: nothing here is attached until somebody asks for a profile. A stack is kept once, in
 * a map that grows while a profile is taken and is emptied afterwards; its weight is what happens in
 * the kernel, so that a busy database costs memory for its different stacks only.
 */
#include "kernel.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FRAMES 48
#define STACKS 8192
#define NAME 64
#define USER_STACK (1 << 8)
#define RUNNABLE 0

struct stack {
	u64 count;
	u64 sum_ns;
	s64 waiting; /* threads that are away with this stack, and the sum of the times they left at */
	u64 left_at_ns;
	u32 kernel_frames;
	u32 user_frames;
	u64 frames[2 * FRAMES]; /* of the kernel, then of the program, each from the innermost */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STACKS);
	__type(key, u64);
	__type(value, struct stack);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct stack);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} began_ns SEC(".maps"); /* what happened before belongs to another profile */

struct away {
	u64 since_ns;
	u64 stack;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct away);
} away SEC(".maps");

static __always_inline u64 mixed(u64 hash, const u64 *frames, u32 count)
{
	u32 place;

	for (place = 0; place < FRAMES; place++) {
		if (place >= count)
			break;
		hash = (hash ^ frames[place]) * 0x100000001b3ULL;
		hash ^= hash >> 29;
	}
	return hash;
}

/* Return the key of the current task's stack, 0 where there is no room for another. */
static __always_inline u64 key_of_stack(void *context)
{
	u32 zero = 0;
	struct stack *stack = bpf_map_lookup_elem(&scratch, &zero);
	u64 *missed = bpf_map_lookup_elem(&lost, &zero);
	u64 key = 0xcbf29ce484222325ULL;
	long size;

	if (!stack)
		return 0;
	size = bpf_get_stack(context, stack->frames, FRAMES * sizeof(u64), 0);
	stack->kernel_frames = size > 0 ? size / sizeof(u64) : 0;
	size = bpf_get_stack(context, stack->frames + FRAMES, FRAMES * sizeof(u64), USER_STACK);
	stack->user_frames = size > 0 ? size / sizeof(u64) : 0;
	key = mixed(key, stack->frames, stack->kernel_frames);
	key = mixed(key, stack->frames + FRAMES, stack->user_frames);
	if (bpf_map_lookup_elem(&stacks, &key))
		return key;
	if (bpf_map_update_elem(&stacks, &key, stack, BPF_NOEXIST) == 0)
		return key;
	if (bpf_map_lookup_elem(&stacks, &key))
		return key; /* another CPU was first */
	if (missed)
		(*missed)++;
	return 0;
}

static __always_inline struct stack *stack_of(u64 key)
{
	return bpf_map_lookup_elem(&stacks, &key);
}

SEC("perf_event")
int running(void *context)
{
	struct stack *stack;

	if (!is_wanted((struct task_struct *)bpf_get_current_task_btf()))
		return 0;
	stack = stack_of(key_of_stack(context));
	if (stack)
		__sync_fetch_and_add(&stack->count, 1);
	return 0;
}

static __always_inline void leaves(struct task_struct *task, u64 *context, u64 now_ns)
{
	struct away *gone;
	struct stack *stack;

	/* One that is only pushed aside waits for a processor and for nothing else. */
	if (task->__state == RUNNABLE || !is_wanted(task))
		return;
	gone = bpf_task_storage_get(&away, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!gone)
		return;
	gone->since_ns = 0;
	gone->stack = key_of_stack(context);
	stack = stack_of(gone->stack);
	if (!stack)
		return;
	gone->since_ns = now_ns;
	__sync_fetch_and_add(&stack->waiting, 1);
	__sync_fetch_and_add(&stack->left_at_ns, now_ns);
}

static __always_inline void returns(struct task_struct *task, u64 now_ns)
{
	struct away *gone = bpf_task_storage_get(&away, task, 0, 0);
	u64 since_ns;
	u64 *began;
	struct stack *stack;
	u32 zero = 0;

	if (!gone || !gone->since_ns)
		return;
	since_ns = gone->since_ns;
	gone->since_ns = 0;
	began = bpf_map_lookup_elem(&began_ns, &zero);
	stack = stack_of(gone->stack);
	if (!began || since_ns < *began || !stack)
		return;
	__sync_fetch_and_add(&stack->waiting, -1);
	__sync_fetch_and_add(&stack->left_at_ns, -since_ns);
	__sync_fetch_and_add(&stack->count, 1);
	__sync_fetch_and_add(&stack->sum_ns, now_ns - since_ns);
}

SEC("tp_btf/sched_switch")
int switched(u64 *context)
{
	u64 now_ns = bpf_ktime_get_ns();

	leaves((struct task_struct *)context[1], context, now_ns);
	returns((struct task_struct *)context[2], now_ns);
	return 0;
}

struct symbol {
	u64 address;
	char name[NAME];
};

/* The kernel names its own functions to whoever holds this program; addresses stay inside. */
SEC("syscall")
int symbolize(struct symbol *symbol)
{
	char name[NAME] = {};
	u64 address = symbol->address;

	bpf_snprintf(name, sizeof(name), "%ps", &address, sizeof(address));
	__builtin_memcpy(symbol->name, name, sizeof(name));
	return 0;
}
