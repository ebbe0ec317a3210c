/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The groups `sys` and `mm` for BCC: it compiles them on the machine, against the kernel's headers.
 *
 * The one idea: arguments come from tracepoints, whose form the kernel itself tells; only what kind
 * of file is read needs a structure of the kernel, and that is why headers have to match.
 */
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/sched.h>

#define SLOTS 33
enum { NOBODY, UNIFIED, UNIFIED_BELOW, MEMORY, PROCESS };

struct target_t {
	u64 kind;
	u64 level;
	u64 cgroup_id;
	u64 tgid;
	u64 device; /* of the namespace of processes */
	u64 inode;
};
BPF_ARRAY(target, struct target_t, 1);

struct latency_t {
	u64 slots[SLOTS];
	u64 sum_ns;
	u64 count;
	u64 bytes;
	u64 errors;
};

static inline bool is_wanted(void)
{
	struct bpf_pidns_info in_namespace = {};
	int zero = 0;
	struct target_t *wanted = target.lookup(&zero);

	if (!wanted)
		return false;
	if (wanted->kind == UNIFIED)
		return bpf_get_current_cgroup_id() == wanted->cgroup_id;
	if (wanted->kind == UNIFIED_BELOW)
		return bpf_get_current_ancestor_cgroup_id(wanted->level) == wanted->cgroup_id;
	if (wanted->kind != PROCESS)
		return false;
	if (bpf_get_ns_current_pid_tgid(wanted->device, wanted->inode, &in_namespace,
					sizeof(in_namespace)))
		return false;
	return in_namespace.tgid == wanted->tgid;
}

#ifdef GROUP_SYS
enum { READ_FILE, READ_OTHER, PREAD };

struct begun_t {
	u64 at_ns;
	u64 operation;
};
BPF_HASH(begun, u64, struct begun_t, 10240);
BPF_PERCPU_ARRAY(reads, struct latency_t, 3);
BPF_PERCPU_ARRAY(advices, u64, 8);

static inline bool is_regular(u64 descriptor)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct files_struct *files = 0;
	struct fdtable *table = 0;
	struct file **all = 0;
	struct file *file = 0;
	struct inode *inode = 0;
	u32 most = 0;
	umode_t mode = 0;

	bpf_probe_read_kernel(&files, sizeof(files), &task->files);
	bpf_probe_read_kernel(&table, sizeof(table), &files->fdt);
	bpf_probe_read_kernel(&most, sizeof(most), &table->max_fds);
	if (descriptor >= most)
		return false;
	bpf_probe_read_kernel(&all, sizeof(all), &table->fd);
	bpf_probe_read_kernel(&file, sizeof(file), all + descriptor);
	bpf_probe_read_kernel(&inode, sizeof(inode), &file->f_inode);
	bpf_probe_read_kernel(&mode, sizeof(mode), &inode->i_mode);
	return (mode & 0170000) == 0100000;
}

static inline void begins(u64 operation)
{
	struct begun_t one = {};
	u64 thread = bpf_get_current_pid_tgid();

	one.operation = operation;
	one.at_ns = bpf_ktime_get_ns();
	begun.update(&thread, &one);
}

static inline void ends(s64 result)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct begun_t *one = begun.lookup(&thread);
	struct latency_t *latency;
	u64 duration_ns, rest;
	u32 slot = 0;
	int operation;

	if (!one)
		return;
	duration_ns = bpf_ktime_get_ns() - one->at_ns;
	operation = one->operation;
	begun.delete(&thread);
	latency = reads.lookup(&operation);
	if (!latency)
		return;
	if (result < 0) {
		latency->errors++;
		return;
	}
	/* bpf_log2l() is one slot higher than ours for a power of two, and knows no zero. */
	rest = duration_ns / 1000;
#pragma unroll
	for (int bit = 0; bit < SLOTS - 1; bit++)
		slot += rest >> bit ? 1 : 0;
	if (slot < SLOTS)
		latency->slots[slot]++;
	latency->sum_ns += duration_ns;
	latency->count++;
	latency->bytes += result;
}

TRACEPOINT_PROBE(syscalls, sys_enter_read)
{
	if (is_wanted())
		begins(is_regular(args->fd) ? READ_FILE : READ_OTHER);
	return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_read)
{
	ends(args->ret);
	return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_pread64)
{
	if (is_wanted())
		begins(PREAD);
	return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_pread64)
{
	ends(args->ret);
	return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_fadvise64)
{
	int advice = args->advice;
	u64 *count;

	if (!is_wanted())
		return 0;
	if (advice < 0 || advice > 7)
		advice = 7;
	count = advices.lookup(&advice);
	if (count)
		(*count)++;
	return 0;
}
#endif

#ifdef GROUP_MM
/* In the order of mm.bpf.c. */
enum {
	LOOKUPS,
	PAGES_ADDED,
	PAGES_DELETED,
	LRU_SCANNED,
	LRU_RECLAIMED,
	LRU_SHRINKS,
	DIRECT_BEGINS,
	DIRECT_RECLAIMED,
	MEMCG_BEGINS,
	MEMCG_RECLAIMED,
	COUNTERS,
};
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);

static inline void add(int which, u64 amount)
{
	u64 *count;

	if (!is_wanted())
		return;
	count = counters.lookup(&which);
	if (count)
		*count += amount;
}

#ifdef HAS_LOOKUPS
TRACEPOINT_PROBE(filemap, mm_filemap_get_pages)
{
	add(LOOKUPS, 1);
	return 0;
}
#endif

#ifdef HAS_ORDER
#define PAGES(record) (1ULL << ((record)->order & 31))
#else
#define PAGES(record) 1
#endif

TRACEPOINT_PROBE(filemap, mm_filemap_add_to_page_cache)
{
	add(PAGES_ADDED, PAGES(args));
	return 0;
}

TRACEPOINT_PROBE(filemap, mm_filemap_delete_from_page_cache)
{
	add(PAGES_DELETED, PAGES(args));
	return 0;
}

TRACEPOINT_PROBE(vmscan, mm_vmscan_lru_shrink_inactive)
{
	add(LRU_SCANNED, args->nr_scanned);
	add(LRU_RECLAIMED, args->nr_reclaimed);
	add(LRU_SHRINKS, 1);
	return 0;
}

TRACEPOINT_PROBE(vmscan, mm_vmscan_direct_reclaim_begin)
{
	add(DIRECT_BEGINS, 1);
	return 0;
}

TRACEPOINT_PROBE(vmscan, mm_vmscan_direct_reclaim_end)
{
	add(DIRECT_RECLAIMED, args->nr_reclaimed);
	return 0;
}

TRACEPOINT_PROBE(vmscan, mm_vmscan_memcg_reclaim_begin)
{
	add(MEMCG_BEGINS, 1);
	return 0;
}

TRACEPOINT_PROBE(vmscan, mm_vmscan_memcg_reclaim_end)
{
	add(MEMCG_RECLAIMED, args->nr_reclaimed);
	return 0;
}
#endif
