// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A fault replaces the answers of one place, metrics or pprof, until it expires or is cleared.
// The controls under /sample/ are never touched by one.

//go:embed malformed.lines
var malformedText string

const (
	hugeBytes     = 200 << 20
	slowPiece     = 1024
	slowPause     = 100 * time.Millisecond
	defaultFaultS = 10 * time.Second
)

var faultKinds = "hang error500 malformed huge slow truncate none"

type fault struct {
	kind    string
	until   time.Time
	cleared chan struct{}
}

type faultBoard struct {
	mutex   sync.Mutex
	byPlace map[string]fault
}

func newFaultBoard() *faultBoard {
	return &faultBoard{byPlace: map[string]fault{}}
}

// set replaces the fault of a place; answers that hang or trickle because of the old one go on.
func (b *faultBoard) set(place, kind string, duration time.Duration) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if old, found := b.byPlace[place]; found {
		close(old.cleared)
		delete(b.byPlace, place)
	}
	if kind != "none" {
		b.byPlace[place] = fault{kind, time.Now().Add(duration), make(chan struct{})}
	}
}

func (b *faultBoard) current(place string) fault {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	f, found := b.byPlace[place]
	if !found || time.Now().After(f.until) {
		return fault{kind: "none"}
	}
	return f
}

// control answers POST /sample/fault?kind=K&for=10s&where=metrics|pprof.
func (b *faultBoard) control(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	kind, place, text := query.Get("kind"), query.Get("where"), query.Get("for")
	if place == "" {
		place = "metrics"
	}
	duration := defaultFaultS
	var err error
	if text != "" {
		duration, err = time.ParseDuration(text)
	}
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
	case kind == "" || !strings.Contains(" "+faultKinds+" ", " "+kind+" "):
		http.Error(w, "kind: want one of "+faultKinds, http.StatusBadRequest)
	case place != "metrics" && place != "pprof":
		http.Error(w, "where: want metrics or pprof", http.StatusBadRequest)
	case err != nil || duration <= 0:
		http.Error(w, "for: want a duration such as 10s", http.StatusBadRequest)
	default:
		b.set(place, kind, duration)
		writeJSON(w, map[string]any{"kind": kind, "where": place, "for_s": duration.Seconds()})
	}
}

// guard lets a handler answer unless its place has a fault.
func (b *faultBoard) guard(place string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := b.current(place)
		switch f.kind {
		case "hang":
			if f.wait(r, time.Until(f.until)) {
				inner.ServeHTTP(w, r)
			}
		case "error500":
			http.Error(w, "the sample node was asked to fail", http.StatusInternalServerError)
		case "malformed":
			writeMalformed(w, r, place, inner)
		case "huge":
			writeHuge(w, place)
		case "slow":
			f.writeSlowly(w, r, record(inner, r))
		case "truncate":
			writeTruncated(w, record(inner, r))
		default:
			inner.ServeHTTP(w, r)
		}
	})
}

// wait returns true after the pause or when the fault is cleared, false when the client left.
func (f fault) wait(r *http.Request, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.cleared:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (f fault) writeSlowly(w http.ResponseWriter, r *http.Request, answer *recording) {
	answer.copyHead(w)
	for body := answer.body.Bytes(); len(body) > 0; {
		piece := body[:min(slowPiece, len(body))]
		if _, err := w.Write(piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		body = body[len(piece):]
		if !f.wait(r, slowPause) {
			return
		}
	}
}

func writeTruncated(w http.ResponseWriter, answer *recording) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	fmt.Fprintf(buffer, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		answer.header.Get("Content-Type"), answer.body.Len())
	_, _ = buffer.Write(answer.body.Bytes()[:answer.body.Len()/2])
	_ = buffer.Flush()
}

func writeMalformed(w http.ResponseWriter, r *http.Request, place string, inner http.Handler) {
	if place == "pprof" {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write([]byte("\x1f\x8b\x08\x00not a profile"))
		return
	}
	w.Header().Set("Content-Type", metricsContentType)
	var bad []string
	for _, line := range strings.Split(strings.TrimSuffix(malformedText, "\n"), "\n") {
		if !strings.HasPrefix(line, ";") {
			bad = append(bad, line+"\n")
		}
	}
	families := strings.SplitAfter(record(inner, r).body.String(), "\n# HELP ")
	for i, text := range families {
		text = strings.TrimSuffix(text, "# HELP ")
		if i > 0 {
			text = "# HELP " + text
		}
		if i < len(bad) {
			text += bad[i]
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return
		}
	}
}

// writeHuge streams 200 MiB made of one block over and over, never held as a whole.
func writeHuge(w http.ResponseWriter, place string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if place == "metrics" {
		w.Header().Set("Content-Type", metricsContentType)
	}
	for sent, number := 0, 0; sent < hugeBytes; number++ {
		block := hugeBlock(place, number)
		if _, err := w.Write(block); err != nil {
			return
		}
		sent += len(block)
	}
}

func hugeBlock(place string, number int) []byte {
	if place != "metrics" {
		return make([]byte, 1<<16)
	}
	var block bytes.Buffer
	for line := 0; line < 1000; line++ {
		fmt.Fprintf(&block, "banyandb_sample_huge{block=\"%d\",line=\"%d\"} %d\n", number, line, line)
	}
	return block.Bytes()
}

// recording is a ResponseWriter that keeps the answer for a fault to misuse.
type recording struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(inner http.Handler, r *http.Request) *recording {
	answer := &recording{header: http.Header{}, status: http.StatusOK}
	inner.ServeHTTP(answer, r)
	return answer
}

func (a *recording) Header() http.Header               { return a.header }
func (a *recording) WriteHeader(status int)            { a.status = status }
func (a *recording) Write(content []byte) (int, error) { return a.body.Write(content) }
func (a *recording) copyHead(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
}
