/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A histogram of durations, one copy per CPU.
 *
 * The one idea: slot s holds durations below 2^s microseconds that no slot before it holds, so the
 * bound that is published is the upper edge and no quantile is understated. The last slot has no
 * bound.
 */
#ifndef FODC_LATENCY_H
#define FODC_LATENCY_H

#include "kernel.h"

#define SLOTS 33

struct latency {
	u64 slots[SLOTS];
	u64 sum_ns;
	u64 count;
	u64 bytes;
	u64 errors;
};

static __always_inline u32 slot_of(u64 duration_ns)
{
	u64 rest = duration_ns / 1000;
	u32 slot = 0;

	if (rest >> 32)
		return SLOTS - 1;
	if (rest >= 1 << 16) {
		rest >>= 16;
		slot += 16;
	}
	if (rest >= 1 << 8) {
		rest >>= 8;
		slot += 8;
	}
	if (rest >= 1 << 4) {
		rest >>= 4;
		slot += 4;
	}
	if (rest >= 1 << 2) {
		rest >>= 2;
		slot += 2;
	}
	if (rest >= 1 << 1) {
		rest >>= 1;
		slot += 1;
	}
	return slot + rest;
}

static __always_inline void note(struct latency *one, u64 duration_ns)
{
	u32 slot = slot_of(duration_ns);

	if (slot < SLOTS)
		one->slots[slot]++;
	one->sum_ns += duration_ns;
	one->count++;
}

#endif
