// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"
)

// One unit of load costs about five percent of a core and holds about a megabyte: it hashes
// blocks, searches and rebuilds a map, encodes elements, and lets goroutines wait and contend.
// The names are those of a database's parts so that a reader of a profile recognizes them.

const (
	workPeriod   = 100 * time.Millisecond
	workSlice    = 2 * time.Millisecond
	lockPeriod   = 20 * time.Millisecond
	lockHold     = time.Millisecond
	blockBytes   = 64 << 10
	keptBlocks   = 16
	indexTerms   = 2000
	lockWriters  = 3
	queueWaiters = 4
)

// workload holds one cancel function for each unit of load.
type workload struct {
	mutex sync.Mutex
	units []context.CancelFunc
}

// setLoad starts or ends units until there are n.
func (w *workload) setLoad(n int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for len(w.units) > n {
		w.units[len(w.units)-1]()
		w.units = w.units[:len(w.units)-1]
	}
	for len(w.units) < n {
		ctx, cancel := context.WithCancel(context.Background())
		w.units = append(w.units, cancel)
		startUnit(ctx)
	}
}

func startUnit(ctx context.Context) {
	m := &measure{block: make([]byte, blockBytes)}
	x := &index{terms: map[uint64][]uint32{}}
	s := &stream{}
	table := &shard{}
	q := &queue{signals: make(chan struct{})}
	go every(ctx, workPeriod, m.flush)
	go every(ctx, workPeriod, x.search)
	go every(ctx, workPeriod, s.encode)
	for i := 0; i < lockWriters; i++ {
		go every(ctx, lockPeriod, table.write)
	}
	for i := 0; i < queueWaiters; i++ {
		go q.await(ctx)
	}
}

func every(ctx context.Context, period time.Duration, task func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			task()
		}
	}
}

type measure struct {
	block []byte
	sum   uint64
}

// flush hashes blocks for one slice of time.
//
//go:noinline
func (m *measure) flush() {
	for end := time.Now().Add(workSlice); time.Now().Before(end); {
		m.hashBlock()
	}
}

//go:noinline
func (m *measure) hashBlock() {
	digest := uint64(14695981039346656037)
	for i := range m.block {
		digest = (digest ^ uint64(m.block[i])) * 1099511628211
		m.block[i] = byte(digest)
	}
	m.sum += digest
}

type index struct {
	terms map[uint64][]uint32
	hits  int
	seed  uint64
}

// search looks terms up and replaces those that it does not find, for one slice of time.
//
//go:noinline
func (x *index) search() {
	for end := time.Now().Add(workSlice); time.Now().Before(end); {
		for i := 0; i < 50; i++ {
			x.lookUp(x.nextTerm())
		}
	}
}

func (x *index) nextTerm() uint64 {
	x.seed = x.seed*6364136223846793005 + 1442695040888963407
	return x.seed >> 40
}

//go:noinline
func (x *index) lookUp(term uint64) {
	if postings, found := x.terms[term]; found {
		x.hits += len(postings)
		return
	}
	if len(x.terms) >= indexTerms {
		x.evict()
	}
	x.terms[term] = make([]uint32, 8)
}

//go:noinline
func (x *index) evict() {
	for term := range x.terms {
		delete(x.terms, term)
		if len(x.terms) <= indexTerms/2 {
			return
		}
	}
}

type stream struct {
	blocks [keptBlocks][]byte
	next   int
}

// encode makes new blocks and keeps the last few, so that the heap profile has both.
//
//go:noinline
func (s *stream) encode() {
	for i := 0; i < 4; i++ {
		s.blocks[s.next%keptBlocks] = encodeElements(s.next)
		s.next++
	}
}

//go:noinline
func encodeElements(seed int) []byte {
	block := make([]byte, blockBytes)
	for i := 0; i < len(block); i += 64 {
		block[i] = byte(seed + i)
	}
	return block
}

type shard struct {
	mutex sync.Mutex
}

// write holds the lock while it sleeps: contention without using the processor.
//
//go:noinline
func (s *shard) write() {
	s.mutex.Lock()
	time.Sleep(lockHold)
	s.mutex.Unlock()
}

type queue struct {
	signals chan struct{}
}

// await stands for a subscriber that waits for messages.
//
//go:noinline
func (q *queue) await(ctx context.Context) {
	select {
	case <-q.signals:
	case <-ctx.Done():
	}
}
