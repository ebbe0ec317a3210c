// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"
)

const (
	metricsContentType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	maxLoad            = 1000
)

// node owns what the handlers share.
type node struct {
	page    *page
	started time.Time
	faults  *faultBoard
	work    *workload
}

func (n *node) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", n.faults.guard("metrics", http.HandlerFunc(n.metrics)))
	mux.Handle("/", n.faults.guard("metrics", http.NotFoundHandler()))
	mux.HandleFunc("/sample/load", n.loadControl)
	mux.HandleFunc("/sample/fault", n.faults.control)
	mux.HandleFunc("/sample/grow", growControl)
	mux.HandleFunc("/sample/panic", panicControl)
	return mux
}

func (n *node) pprofHandler() http.Handler {
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return n.faults.guard("pprof", profiles)
}

func (n *node) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", metricsContentType)
	start := float64(n.started.UnixMilli()) / 1000
	out := bufio.NewWriterSize(w, 1<<15)
	if n.page.writeTo(out, time.Since(n.started).Seconds(), start, measured(start)) == nil {
		_ = out.Flush()
	}
}

// loadControl answers POST /sample/load?n=3.
func (n *node) loadControl(w http.ResponseWriter, r *http.Request) {
	load, err := strconv.Atoi(r.URL.Query().Get("n"))
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
	case err != nil || load < 0 || load > maxLoad:
		http.Error(w, "n: want a whole number from 0 to 1000", http.StatusBadRequest)
	default:
		n.work.setLoad(load)
		writeJSON(w, map[string]any{"load": load})
	}
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
