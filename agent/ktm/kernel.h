/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the programs know of the kernel: the few fields that they read, and nothing else.
 *
 * The one idea: no header of a running kernel is needed to build. Each structure is declared with
 * the fields that are read; where they really lie is filled in by the kernel when it loads a
 * program (CO-RE), so one blob serves every kernel that has BTF.
 */
#ifndef FODC_KERNEL_H
#define FODC_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0

/* Numbers of the stable interface (include/uapi/linux/bpf.h). */
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_STACK_TRACE = 7,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define READ_THROUGH __attribute__((preserve_access_index))

enum cgroup_subsys_id { memory_cgrp_id = 1 };

struct kernfs_node {
	u64 id;
} READ_THROUGH;

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[];
} READ_THROUGH;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
} READ_THROUGH;

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
} READ_THROUGH;

struct ns_common {
	u32 inum;
} READ_THROUGH;

struct pid_namespace {
	struct ns_common ns;
} READ_THROUGH;

struct upid {
	int nr;
	struct pid_namespace *ns;
} READ_THROUGH;

struct pid {
	u32 level;
	struct upid numbers[1];
} READ_THROUGH;

struct signal_struct {
	struct pid *pids[4];
} READ_THROUGH;

struct inode {
	u16 i_mode;
} READ_THROUGH;

struct file {
	struct inode *f_inode;
} READ_THROUGH;

struct fdtable {
	u32 max_fds;
	struct file **fd;
} READ_THROUGH;

struct files_struct {
	struct fdtable *fdt;
} READ_THROUGH;

struct task_struct {
	u32 __state;
	int pid;
	int tgid;
	struct css_set *cgroups;
	struct signal_struct *signal;
	struct files_struct *files;
	void *bpf_storage;
} READ_THROUGH;

struct blkcg {
	struct cgroup_subsys_state css;
} READ_THROUGH;

struct blkcg_gq {
	struct blkcg *blkcg;
} READ_THROUGH;

struct bio {
	struct blkcg_gq *bi_blkg;
} READ_THROUGH;

struct request {
	u32 cmd_flags;
	struct bio *bio;
} READ_THROUGH;

/* Records of tracepoints of tracefs. `order` came with large folios. */
struct trace_event_raw_mm_filemap_op_page_cache {
	u8 order;
} READ_THROUGH;

struct exit_of_syscall {
	u64 common;
	s64 number;
	s64 result;
};

/* Registers and numbers of system calls; the only part that differs between architectures. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, dx, r10, orig_ax, ip, sp, bp;
} READ_THROUGH;
#define SYSCALL_OF(r) ((long)(r)->orig_ax)
#define FIRST_ARGUMENT(r) ((r)->di)
#define FOURTH_ARGUMENT(r) ((r)->r10)
enum { NR_READ = 0, NR_PREAD64 = 17, NR_FADVISE64 = 221 };
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
} READ_THROUGH;
#define SYSCALL_OF(r) ((long)(r)->syscallno)
#define FIRST_ARGUMENT(r) ((r)->orig_x0)
#define FOURTH_ARGUMENT(r) ((r)->regs[3])
enum { NR_READ = 63, NR_PREAD64 = 67, NR_FADVISE64 = 223 };
#else
#error "no registers are declared for this architecture"
#endif

#endif
