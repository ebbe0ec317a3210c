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
#define RETURNS 28
#define WORDS 256 /* of a stack, that are copied */
#define STACKS 8192
#define NAME 64
#define USER_STACK (1 << 8)
#define RUNNABLE 0
#define DEAD 0x80
#define LARGEST_FRAME (8 << 20)

struct stack {
	u64 count;
	u64 sum_ns;
	s64 waiting; /* threads that are away with this stack, and the sum of the times they left at */
	u64 left_at_ns;
	u32 kernel_frames;
	u32 user_frames;
	u64 kernel_hash;
	u64 words[RETURNS]; /* that the kernel's stack holds at the places below */
	u8 places[RETURNS];
	u32 returns;
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

static __always_inline struct stack *scratch_stack(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __noinline u64 walk_program(void *context, struct stack *stack, u64 hash)
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

static __always_inline void miss(void)
{
	u32 zero = 0;
	u64 *missed = bpf_map_lookup_elem(&lost, &zero);

	if (missed)
		(*missed)++;
}

/* Keep the walked stack by this key; say whether it is now that of this key. */
static __always_inline bool is_kept(u64 key, struct stack *walked)
{
	return bpf_map_update_elem(&stacks, &key, walked, BPF_NOEXIST) == 0;
}

SEC("perf_event")
int running(void *context)
{
	struct stack *walked = scratch_stack(), *stack;
	u64 key;

	if (!walked || !is_wanted((struct task_struct *)bpf_get_current_task_btf()))
		return 0;
	key = walk_program(context, walked, walk_kernel(context, walked, NO_FRAMES));
	if (!stack_of(key))
		is_kept(key, walked);
	stack = stack_of(key);
	if (stack)
		__sync_fetch_and_add(&stack->count, 1);
	else
		miss();
	return 0;
}

#if defined(__TARGET_ARCH_x86)
#define IS_CODE(word) ((s64)(word) >> 31 == -1)
#define VARIANTS 8 /* ways through the kernel from one place of a program that are known again */
#define OUTSIDE 3 /* innermost frames, our own two and who called them, lie below the context */

struct copy {
	u64 kernel[WORDS];
	u64 program[WORDS + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct copy);
} copy SEC(".maps");

static __always_inline struct copy *scratch_copy(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&copy, &zero);
}

/*
 * The program's frames, as the kernel's walk finds them, followed in a copy of the innermost part of
 * its stack: each frame that the kernel looks at costs as much as the copy. A program without frame
 * pointers has anything in their register: followed, it would name what never called, and end in a
 * fault.
 */
static __always_inline u64 place_in_program(struct pt_regs *registers, void *context,
					    struct copy *copied, struct stack *stack)
{
	u64 top = registers->sp, frame = registers->bp, back, offset;
	u64 hash = NO_FRAMES ^ (u64)SYSCALL_OF(registers);
	u32 place;

	stack->user_frames = registers->ip != 0;
	stack->frames[FRAMES] = registers->ip;
	if (frame - top >= LARGEST_FRAME)
		return mixed(hash, stack->frames + FRAMES, 1);
	if (bpf_probe_read_user(copied->program, sizeof(copied->program), (void *)top) < 0)
		return walk_program(context, stack, hash);
	for (place = 1; place < FRAMES && frame; place++) {
		if ((frame - top) % sizeof(u64))
			return walk_program(context, stack, hash);
		offset = (frame - top) / sizeof(u64);
		barrier_var(offset); /* the verifier looks for the bound of what is added to a pointer */
		if (offset >= WORDS)
			return walk_program(context, stack, hash);
		frame = copied->program[offset];
		back = copied->program[offset + 1];
		if (back - top < sizeof(copied->program))
			break; /* nobody returns into a stack */
		stack->frames[FRAMES + place] = back;
		stack->user_frames = place + 1;
	}
	return mixed(hash, stack->frames + FRAMES, stack->user_frames);
}

struct noting {
	u64 some; /* a bit for each caller */
	u32 callers;
	u32 last;
};

static long note_place(u32 place, struct noting *told)
{
	struct stack *walked = scratch_stack();
	struct copy *copied = scratch_copy();
	u32 count;
	u64 word;

	if (!walked || !copied || place >= WORDS)
		return 1;
	word = copied->kernel[place];
	if (!IS_CODE(word) || !(told->some >> (word >> 2 & 63) & 1))
		return 0;
	count = walked->returns;
	if (count >= RETURNS) {
		told->callers = 0;
		return 1;
	}
	walked->places[count] = place;
	walked->words[count] = word;
	walked->returns = count + 1;
	count = told->callers;
	if (count < FRAMES && count < told->last && word == walked->frames[count])
		told->callers = count + 1;
	return 0;
}

/*
 * A walk of the kernel's stack costs more than all else, so it is done once and known again. Where
 * functions return to tells how large their frames are, and so where the next ones return to: a
 * stack that holds the same callers, all of them, in the same places is taken for the same.
 *
 * Note the places of what may be callers; none where not all of them are found, but for the entry
 * into the kernel, which moves (randomize_kstack_offset) and is always the same.
 */
static __always_inline void note_returns(struct stack *walked, u32 words)
{
	struct noting told = {.callers = OUTSIDE};
	u32 place;

	walked->returns = 0;
	if (walked->kernel_frames >= FRAMES || walked->kernel_frames <= OUTSIDE)
		return;
	told.last = walked->kernel_frames - 1;
	for (place = OUTSIDE; place < FRAMES; place++) {
		if (place < told.last)
			told.some |= 1ULL << (walked->frames[place] >> 2 & 63);
	}
	bpf_loop(words, note_place, &told, 0);
	if (told.callers != told.last)
		walked->returns = 0;
}

static __always_inline bool holds(const struct stack *stack, u32 number, const struct copy *copied,
				  u32 words)
{
	u8 place = stack->places[number];

	return place < words && copied->kernel[place] == stack->words[number];
}

/* Not static: the verifier looks at it once, and not at each of its calls. */
__noinline bool returns_alike(const struct stack *stack, const struct copy *copied, u32 words)
{
	u32 number;

	if (!stack || !copied)
		return false;
	for (number = 0; number < RETURNS; number++) {
		if (number >= stack->returns)
			break;
		if (!holds(stack, number, copied, words))
			return false;
	}
	return number > 0;
}

/*
 * Words that are left of older calls may look like callers too. The same stack has come again with
 * other words in some of its places: they are none of its callers' and are not compared any more.
 */
static __noinline void refine(struct stack *known, struct stack *walked,
				   const struct copy *copied, u32 words)
{
	volatile u32 *left = &walked->returns; /* the verifier follows no number that lies in memory */
	u32 number, count;

	*left = 0;
	for (number = 0; number < RETURNS; number++) {
		if (number >= known->returns)
			break;
		if (!holds(known, number, copied, words))
			continue;
		count = *left;
		if (count >= RETURNS)
			break;
		walked->places[count] = known->places[number];
		walked->words[count] = known->words[number];
		*left = count + 1;
	}
	if (!*left)
		return;
	known->returns = 0; /* what is half written is like nothing */
	__builtin_memcpy(known->places, walked->places, sizeof(known->places));
	__builtin_memcpy(known->words, walked->words, sizeof(known->words));
	known->returns = *left;
}

/* Walk the kernel's stack; return the key of it, kept before or now, 0 where there is no room. */
static __noinline u64 key_of_walk(void *context, struct copy *copied, struct stack *walked, u32 words,
				  u64 key)
{
	struct stack *known;
	u32 variant;
	u64 exact;

	walked->kernel_hash = walk_kernel(context, walked, NO_FRAMES);
	exact = key ^ walked->kernel_hash;
	for (variant = 0; variant < VARIANTS; variant++) {
		known = stack_of(key + variant);
		if (!known) {
			note_returns(walked, words);
			if (is_kept(key + variant, walked))
				return key + variant;
			break; /* another CPU was first */
		}
		if (known->kernel_hash == walked->kernel_hash) {
			refine(known, walked, copied, words);
			return key + variant;
		}
	}
	/* Too many ways: told by all of their callers, with a walk each time. */
	walked->returns = 0;
	return stack_of(exact) || is_kept(exact, walked) || stack_of(exact) ? exact : 0;
}

/* Return the key of where a task begins to wait, 0 where there is no room for another stack. */
static __always_inline u64 key_of_wait(struct task_struct *task, void *context, struct stack *walked)
{
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 depth = (u64)registers - (u64)context, key;
	struct copy *copied = scratch_copy();
	struct stack *known;
	u32 variant, words = 0;

	if (!copied)
		return 0;
	key = place_in_program(registers, context, copied, walked);
	if (depth > sizeof(copied->kernel))
		depth = sizeof(copied->kernel);
	if (bpf_probe_read_kernel(copied->kernel, depth, context) == 0)
		words = depth / sizeof(u64);
	for (variant = 0; variant < VARIANTS; variant++) {
		known = stack_of(key + variant);
		if (!known)
			break;
		if (returns_alike(known, copied, words))
			return key + variant;
	}
	return key_of_walk(context, copied, walked, words, key);
}
#else
/* Elsewhere code is not told from data by its address, and what is returned to may be signed. */
static __always_inline u64 key_of_wait(struct task_struct *task, void *context, struct stack *walked)
{
	u64 key = walk_program(context, walked, walk_kernel(context, walked, NO_FRAMES));

	return stack_of(key) || is_kept(key, walked) || stack_of(key) ? key : 0;
}
#endif

/* Count one that is away no longer among those that wait; return the stack that it waited with. */
static __always_inline struct stack *waits_no_more(struct away *gone)
{
	struct stack *stack = stack_of(gone->stack);
	u64 since_ns = gone->since_ns;
	u32 zero = 0;
	u64 *began = bpf_map_lookup_elem(&began_ns, &zero);

	gone->since_ns = 0;
	if (!stack || !began || !since_ns || since_ns < *began)
		return 0;
	__sync_fetch_and_add(&stack->waiting, -1);
	__sync_fetch_and_add(&stack->left_at_ns, -since_ns);
	return stack;
}

static __always_inline void leaves(struct task_struct *task, bool is_pushed, void *context,
				   u64 now_ns)
{
	struct stack *walked = scratch_stack(), *stack;
	struct away *gone = bpf_task_storage_get(&away, task, 0, 0);

	if (gone && gone->since_ns)
		waits_no_more(gone); /* its return was not seen */
	/* Who is only pushed aside waits for a processor, and who has ended for nothing. */
	if (is_pushed || task->__state == RUNNABLE || task->__state & DEAD || !is_wanted(task))
		return;
	if (!gone)
		gone = bpf_task_storage_get(&away, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!gone || !walked) {
		miss();
		return;
	}
	gone->stack = key_of_wait(task, context, walked);
	stack = stack_of(gone->stack);
	if (!stack) {
		miss();
		return;
	}
	gone->since_ns = now_ns;
	__sync_fetch_and_add(&stack->waiting, 1);
	__sync_fetch_and_add(&stack->left_at_ns, now_ns);
}

static __always_inline void returns(struct task_struct *task, u64 now_ns)
{
	struct away *gone = bpf_task_storage_get(&away, task, 0, 0);
	struct stack *stack;
	u64 since_ns;

	if (!gone || !gone->since_ns)
		return;
	since_ns = gone->since_ns;
	stack = waits_no_more(gone);
	if (!stack)
		return;
	__sync_fetch_and_add(&stack->count, 1);
	__sync_fetch_and_add(&stack->sum_ns, now_ns - since_ns);
}

SEC("tp_btf/sched_switch")
int switched(u64 *context)
{
	u64 now_ns = bpf_ktime_get_ns();

	leaves((struct task_struct *)context[1], context[0], context, now_ns);
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
