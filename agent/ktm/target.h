/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Whose events are counted: those of the database's container, or of its process.
 *
 * The one idea: the agent writes who is meant into a map, again when the node was restarted, and
 * until it has written anything nothing is counted. A task is judged by itself and not by its name,
 * so another pod's database is never taken for this one.
 */
#ifndef FODC_TARGET_H
#define FODC_TARGET_H

#include "kernel.h"

enum target_kind {
	TARGET_NOBODY = 0,
	TARGET_UNIFIED = 1, /* cgroup of the unified hierarchy, alone */
	TARGET_UNIFIED_BELOW = 2, /* and those below it */
	TARGET_MEMORY = 3, /* cgroup of the memory controller: version 1 */
	TARGET_PROCESS = 4, /* one process, where no cgroup is its own */
};

struct target {
	u32 kind;
	u32 level; /* depth of the cgroup, for those below it */
	u64 cgroup_id;
	u64 io_cgroup_id; /* that by which block I/O is charged, 0 where it is not known */
	u32 tgid; /* process id in the namespace below */
	u32 pid_namespace; /* inode of the namespace, 0 for the first one */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct target);
} target SEC(".maps");

#define DEEPEST_NAMESPACE 4
#define GROUP_LEADER 1 /* PIDTYPE_TGID */

/*
 * Two ways to follow the same pointers. Programs that run at every call or switch (OFTEN) follow
 * them directly, which is quickest, and for which a kernel looks through all of its types at the
 * load, 10 ms for a program. The others ask a helper for each, some nanoseconds more.
 */
#ifdef OFTEN
static __always_inline struct cgroup *unified_group(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp;
}

static __always_inline u64 id_of(struct cgroup *group)
{
	return group->kn->id;
}

static __always_inline u64 memory_group_id(struct task_struct *task, u32 controller)
{
	return task->cgroups->subsys[controller]->cgroup->kn->id;
}
#else
static __always_inline struct cgroup *unified_group(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

static __always_inline u64 id_of(struct cgroup *group)
{
	return BPF_CORE_READ(group, kn, id);
}

static __always_inline u64 memory_group_id(struct task_struct *task, u32 controller)
{
	struct css_set *groups = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *state = 0;

	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)__builtin_preserve_access_index(&groups->subsys[0]) +
				      controller * sizeof(state));
	return BPF_CORE_READ(state, cgroup, kn, id);
}
#endif

static __noinline bool is_below(struct cgroup *group, const struct target *wanted)
{
	struct cgroup *above = 0;
	u64 id = 0;

	if (id_of(group) == wanted->cgroup_id)
		return true;
	if (BPF_CORE_READ(group, level) <= (int)wanted->level || !bpf_core_field_exists(group->ancestors))
		return false;
	bpf_probe_read_kernel(&above, sizeof(above),
			      (void *)__builtin_preserve_access_index(&group->ancestors[0]) +
				      wanted->level * sizeof(above));
	return above && BPF_CORE_READ_INTO(&id, above, kn, id) == 0 && id == wanted->cgroup_id;
}

static __noinline bool is_process(struct task_struct *task, const struct target *wanted)
{
	struct pid *leader;
	u32 size = bpf_core_type_size(struct upid);
	int level;

	if (!wanted->pid_namespace)
		return BPF_CORE_READ(task, tgid) == (int)wanted->tgid;
	leader = BPF_CORE_READ(task, signal, pids[GROUP_LEADER]);
#pragma clang loop unroll(disable)
	for (level = 0; level < DEEPEST_NAMESPACE; level++) {
		struct upid *number = (void *)__builtin_preserve_access_index(&leader->numbers[0]) +
				      level * size;

		if (level > (int)BPF_CORE_READ(leader, level))
			break;
		if (BPF_CORE_READ(number, ns, ns.inum) == wanted->pid_namespace)
			return BPF_CORE_READ(number, nr) == (int)wanted->tgid;
	}
	return false;
}

static __always_inline bool is_wanted(struct task_struct *task)
{
	u32 zero = 0;
	const struct target *wanted = bpf_map_lookup_elem(&target, &zero);

	if (!wanted)
		return false;
	switch (wanted->kind) {
	case TARGET_UNIFIED:
		return id_of(unified_group(task)) == wanted->cgroup_id;
	case TARGET_UNIFIED_BELOW:
		return is_below(unified_group(task), wanted);
	case TARGET_MEMORY:
		return memory_group_id(task, bpf_core_enum_value(enum cgroup_subsys_id,
								 memory_cgrp_id)) ==
		       wanted->cgroup_id;
	case TARGET_PROCESS:
		return is_process(task, wanted);
	default:
		return false;
	}
}

#endif
