/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * How long the disk takes for what the database reads and writes.
 *
 * The one idea: a request is judged when it is issued, by the cgroup to which its first bio is
 * charged; it is completed in an interrupt, where the current task is anybody. Where it is not known
 * how I/O is charged, who issues it decides.
 */
#include "kernel.h"
#include "latency.h"
#include "target.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum operation { READ, WRITE, OTHER, OPERATIONS };

#define OPERATION_MASK 0xff
#define IN_FLIGHT 4096

struct issued {
	u64 at_ns;
	u32 operation;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, IN_FLIGHT);
	__type(key, u64);
	__type(value, struct issued);
} in_flight SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPERATIONS);
	__type(key, u32);
	__type(value, struct latency);
} requests SEC(".maps");

static __always_inline bool is_ours(struct request *request)
{
	u32 zero = 0;
	const struct target *wanted = bpf_map_lookup_elem(&target, &zero);

	if (!wanted)
		return false;
	if (!wanted->io_cgroup_id)
		return is_wanted((struct task_struct *)bpf_get_current_task_btf());
	return BPF_CORE_READ(request, bio, bi_blkg, blkcg, css.cgroup, kn, id) ==
	       wanted->io_cgroup_id;
}

SEC("tp_btf/block_rq_issue")
int issue(u64 *context)
{
	struct request *request = (struct request *)context[0];
	struct issued issued = {};
	u64 key = context[0];
	u32 operation;

	if (!is_ours(request))
		return 0;
	operation = request->cmd_flags & OPERATION_MASK;
	issued.operation = operation < OTHER ? operation : OTHER;
	issued.at_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&in_flight, &key, &issued, BPF_ANY);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int complete(u64 *context)
{
	u64 key = context[0];
	s32 error = context[1] & 0xff; /* blk_status_t is a byte */
	struct issued *issued = bpf_map_lookup_elem(&in_flight, &key);
	struct latency *one;

	if (!issued)
		return 0;
	one = bpf_map_lookup_elem(&requests, &issued->operation);
	if (one && error)
		one->errors++;
	if (one && !error) {
		one->bytes += (u32)context[2];
		note(one, bpf_ktime_get_ns() - issued->at_ns);
	}
	bpf_map_delete_elem(&in_flight, &key);
	return 0;
}
