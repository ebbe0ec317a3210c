// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	maxGrowth = 1024
	mebibyte  = 1 << 20
	growSteps = 10
)

// leak is what a node holds and never needs; whoever looks at a heap profile finds its name.
var leak struct {
	sync.Mutex
	chunks [][]byte
}

// growControl answers POST /sample/grow?mib_per_s=8: the node grows until it is killed.
func growControl(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.Atoi(r.URL.Query().Get("mib_per_s"))
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
	case err != nil || rate < 1 || rate > maxGrowth:
		http.Error(w, "mib_per_s: want a whole number from 1 to 1024", http.StatusBadRequest)
	default:
		go growForever(rate)
		writeJSON(w, map[string]any{"mib_per_s": rate})
	}
}

func growForever(rate int) {
	for range time.Tick(time.Second / growSteps) {
		grow(rate * mebibyte / growSteps)
	}
}

func grow(size int) {
	chunk := make([]byte, size)
	for at := 0; at < size; at += 4096 {
		chunk[at] = 1
	}
	leak.Lock()
	leak.chunks = append(leak.chunks, chunk)
	leak.Unlock()
}
