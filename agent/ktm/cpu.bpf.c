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
#define LARGEST_FRAME (8 << 20)

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

#define NO_FRAMES 0xcbf29ce484222325ULL
#define PRIME 0x100000001b3ULL

static __always_inline u64 mixed(u64 hash, const u64 *frames, u32 count)
{
	u32 place;

	for (place = 0; place < FRAMES; place++) {
		if (place >= count)
			break;
		hash = (hash ^ frames[place]) * PRIME;
		hash ^= hash >> 29;
	}
	return hash;
}

static __always_inline struct stack *stack_of(u64 key)
{
	return bpf_map_lookup_elem(&stacks, &key);
}

static __always_inline struct stack *empty_stack(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline u64 walk_program(void *context, struct stack *stack, u64 hash)
{
	long size = bpf_get_stack(context, stack->frames + FRAMES, FRAMES * sizeof(u64), USER_STACK);

	stack->user_frames = size > 0 ? size / sizeof(u64) : 0;
	return mixed(hash, stack->frames + FRAMES, stack->user_frames);
}

static __always_inline u64 walk_kernel(void *context, struct stack *stack, u64 hash)
{
	long size = bpf_get_stack(context, stack->frames, FRAMES * sizeof(u64), 0);

	stack->kernel_frames = size > 0 ? size / sizeof(u64) : 0;
	return mixed(hash, stack->frames, stack->kernel_frames);
}

/* Keep a stack by this key; return it, none where there is no room for another. */
static __always_inline struct stack *kept(u64 key, struct stack *stack)
{
	struct stack *found;
	u32 zero = 0;
	u64 *missed;

	bpf_map_update_elem(&stacks, &key, stack, BPF_NOEXIST);
	found = stack_of(key); /* perhaps that of another CPU, which was first */
	missed = bpf_map_lookup_elem(&lost, &zero);
	if (!found && missed)
		(*missed)++;
	return found;
}

SEC("perf_event")
int running(void *context)
{
	struct stack *walked = empty_stack(), *stack;
	u64 key;

	if (!walked || !is_wanted((struct task_struct *)bpf_get_current_task_btf()))
		return 0;
	key = walk_program(context, walked, walk_kernel(context, walked, NO_FRAMES));
	stack = stack_of(key);
	if (!stack)
		stack = kept(key, walked);
	if (stack)
		__sync_fetch_and_add(&stack->count, 1);
	return 0;
}

#if defined(__TARGET_ARCH_x86)
#define INNERMOST 40 /* words: those that the scheduler was entered from, and seldom what is stale */
#define IS_CODE(word) ((s64)(word) >> 31 == -1)
#define COPIED 256 /* words of the program's stack */

struct copy {
	u64 words[COPIED + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct copy);
} copy SEC(".maps");

/*
 * Where in the kernel a task begins to wait, told by what is cheap: the innermost addresses of code
 * on its stack, to which it returns. A walk of that stack costs twice all else, and for the same
 * place it finds the same; what an address that is stale makes of one place is one again where
 * stacks are read.
 */
static __always_inline u64 place_in_kernel(void *context, struct stack *stack)
{
	u64 hash = NO_FRAMES;
	u32 place;

	if (bpf_probe_read_kernel(stack->frames, INNERMOST * sizeof(u64), context) < 0)
		return walk_kernel(context, stack, hash);
	for (place = 0; place < INNERMOST; place++) {
		if (IS_CODE(stack->frames[place]))
			hash = (hash ^ stack->frames[place]) * PRIME;
	}
	return hash;
}

/*
 * Where in the program: the same frames that the kernel's walk finds, followed in a copy of the
 * innermost part of the stack, since each frame that the kernel looks at costs it as much as the
 * copy. A program without frame pointers has anything in their register: followed, it would name
 * what never called, and end in a fault.
 */
static __always_inline u64 place_in_program(struct task_struct *task, void *context,
					    struct stack *stack, u64 hash)
{
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 top = registers->sp, frame = registers->bp, offset;
	struct copy *copied;
	u32 zero = 0, place;

	stack->user_frames = 1;
	stack->frames[FRAMES] = registers->ip;
	if (frame - top >= LARGEST_FRAME)
		return mixed(hash, stack->frames + FRAMES, 1);
	copied = bpf_map_lookup_elem(&copy, &zero);
	if (!copied || bpf_probe_read_user(copied->words, sizeof(copied->words), (void *)top) < 0)
		return walk_program(context, stack, hash);
	for (place = 1; place < FRAMES && frame; place++) {
		if ((frame - top) % sizeof(u64))
			return walk_program(context, stack, hash);
		offset = (frame - top) / sizeof(u64);
		barrier_var(offset); /* the verifier looks for the bound of what is added to a pointer */
		if (offset >= COPIED)
			return walk_program(context, stack, hash);
		frame = copied->words[offset];
		stack->frames[FRAMES + place] = copied->words[offset + 1];
		stack->user_frames = place + 1;
	}
	return mixed(hash, stack->frames + FRAMES, stack->user_frames);
}
#else
/* Elsewhere code is not told from data by its address, and what is returned to may be signed. */
static __always_inline u64 place_in_kernel(void *context, struct stack *stack)
{
	return walk_kernel(context, stack, NO_FRAMES);
}

static __always_inline u64 place_in_program(struct task_struct *task, void *context,
					    struct stack *stack, u64 hash)
{
	return walk_program(context, stack, hash);
}
#endif

static __always_inline void leaves(struct task_struct *task, u64 *context, u64 now_ns)
{
	struct stack *walked = empty_stack(), *stack;
	struct away *gone;
	u64 key;

	/* One that is only pushed aside waits for a processor and for nothing else. */
	if (!walked || task->__state == RUNNABLE || !is_wanted(task))
		return;
	gone = bpf_task_storage_get(&away, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!gone)
		return;
	gone->since_ns = 0;
	key = place_in_program(task, context, walked, place_in_kernel(context, walked));
	stack = stack_of(key);
	if (!stack) {
		walk_kernel(context, walked, NO_FRAMES);
		stack = kept(key, walked);
	}
	if (!stack)
		return;
	gone->stack = key;
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
