/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The page cache of the database and who takes memory back from it.
 *
 * The one idea: pages are counted, not events: one event of a large folio is up to 512 pages. A
 * container at its own limit never shows in direct reclaim, so reclaim of its memory cgroup is
 * counted beside it.
 */
#include "kernel.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum counter {
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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

static __always_inline bool by_us(void)
{
	return is_wanted((struct task_struct *)bpf_get_current_task_btf());
}

static __always_inline int add(u32 which, u64 amount)
{
	u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		*counter += amount;
	return 0;
}

static __always_inline u64 pages_of(struct trace_event_raw_mm_filemap_op_page_cache *record)
{
	return bpf_core_field_exists(record->order) ? 1ULL << (record->order & 31) : 1;
}

SEC("tracepoint/filemap/mm_filemap_get_pages")
int cache_lookup(void *record)
{
	return by_us() ? add(LOOKUPS, 1) : 0;
}

SEC("tracepoint/filemap/mm_filemap_add_to_page_cache")
int cache_add(struct trace_event_raw_mm_filemap_op_page_cache *record)
{
	return by_us() ? add(PAGES_ADDED, pages_of(record)) : 0;
}

SEC("tracepoint/filemap/mm_filemap_delete_from_page_cache")
int cache_delete(struct trace_event_raw_mm_filemap_op_page_cache *record)
{
	return by_us() ? add(PAGES_DELETED, pages_of(record)) : 0;
}

SEC("tp_btf/mm_vmscan_lru_shrink_inactive")
int lru_shrink(u64 *context)
{
	if (!by_us())
		return 0;
	add(LRU_SCANNED, context[1]);
	add(LRU_RECLAIMED, context[2]);
	return add(LRU_SHRINKS, 1);
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int direct_begin(u64 *context)
{
	return by_us() ? add(DIRECT_BEGINS, 1) : 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int direct_end(u64 *context)
{
	return by_us() ? add(DIRECT_RECLAIMED, context[0]) : 0;
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int memcg_begin(u64 *context)
{
	return by_us() ? add(MEMCG_BEGINS, 1) : 0;
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int memcg_end(u64 *context)
{
	return by_us() ? add(MEMCG_RECLAIMED, context[0]) : 0;
}
