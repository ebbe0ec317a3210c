// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// measured returns the go_ and process_ series that this process knows about itself; the page
// computes the rest.
func measured(start float64) map[string]float64 {
	values := map[string]float64{
		"process_start_time_seconds":  start,
		"go_goroutines":               float64(runtime.NumGoroutine()),
		"go_sched_gomaxprocs_threads": float64(runtime.GOMAXPROCS(0)),
		"go_threads":                  float64(pprof.Lookup("threadcreate").Count()),
		"process_cpu_seconds_total":   cpuSeconds(),
		"banyandb_system_cpu_num":     float64(runtime.NumCPU()),
	}
	addMemory(values)
	addPauses(values)
	addProcFiles(values)
	return values
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func addMemory(values map[string]float64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for name, value := range map[string]uint64{
		"alloc_bytes": m.Alloc, "alloc_bytes_total": m.TotalAlloc,
		"buck_hash_sys_bytes": m.BuckHashSys, "frees_total": m.Frees, "gc_sys_bytes": m.GCSys,
		"heap_alloc_bytes": m.HeapAlloc, "heap_idle_bytes": m.HeapIdle,
		"heap_inuse_bytes": m.HeapInuse, "heap_objects": m.HeapObjects,
		"heap_released_bytes": m.HeapReleased, "heap_sys_bytes": m.HeapSys,
		"mallocs_total": m.Mallocs, "mcache_inuse_bytes": m.MCacheInuse,
		"mcache_sys_bytes": m.MCacheSys, "mspan_inuse_bytes": m.MSpanInuse,
		"mspan_sys_bytes": m.MSpanSys, "next_gc_bytes": m.NextGC, "other_sys_bytes": m.OtherSys,
		"stack_inuse_bytes": m.StackInuse, "stack_sys_bytes": m.StackSys, "sys_bytes": m.Sys,
	} {
		values["go_memstats_"+name] = float64(value)
	}
	values["go_memstats_last_gc_time_seconds"] = float64(m.LastGC) / 1e9
}

func addPauses(values map[string]float64) {
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, len(quantiles))}
	debug.ReadGCStats(&stats)
	for i, quantile := range quantiles {
		key := fmt.Sprintf("go_gc_duration_seconds{quantile=%q}", quantile)
		values[key] = stats.PauseQuantiles[i].Seconds()
	}
	values["go_gc_duration_seconds_sum"] = stats.PauseTotal.Seconds()
	values["go_gc_duration_seconds_count"] = float64(stats.NumGC)
}

// addProcFiles adds what /proc tells; where there is none the page's own values stay.
func addProcFiles(values map[string]float64) {
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		values["process_open_fds"] = float64(len(entries))
	}
	content, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return
	}
	var size, resident float64
	if _, err := fmt.Fscan(strings.NewReader(string(content)), &size, &resident); err == nil {
		values["process_virtual_memory_bytes"] = size * float64(os.Getpagesize())
		values["process_resident_memory_bytes"] = resident * float64(os.Getpagesize())
	}
}
