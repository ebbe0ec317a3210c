// SPDX-License-Identifier: Apache-2.0

// Command banyand behaves towards an FODC agent like a BanyanDB node: the metrics page of a role,
// Go's profiles under a load with telling function names, and faults on request. It is a sample
// for tests, demonstrations and measurements; it stores nothing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// pageStart is the start that the subcommand page assumes, so that its output is reproducible.
const (
	pageStart   = 1.7e9
	pageRuntime = "go1.24"
)

func main() {
	o, err := parseOptions(os.Args[1:])
	if err == nil && o.pageOnly {
		err = printPage(o)
	} else if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sample node:", err)
		os.Exit(2)
	}
}

func printPage(o options) error {
	p, err := newPage(o.role, o.series, pageRuntime)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	if err := p.writeTo(out, o.at, pageStart, nil); err != nil {
		return err
	}
	return out.Flush()
}

func run(o options) error {
	runtime.SetMutexProfileFraction(o.mutexRate)
	runtime.SetBlockProfileRate(o.blockRate)
	p, err := newPage(o.role, o.series, runtime.Version())
	if err != nil {
		return err
	}
	metrics, err := net.Listen("tcp", o.metricsAddr)
	if err != nil {
		return fmt.Errorf("--observability-listener-addr: %w", err)
	}
	profiles, err := net.Listen("tcp", o.pprofAddr)
	if err != nil {
		return fmt.Errorf("--pprof-listener-addr: %w", err)
	}
	n := &node{page: p, started: time.Now(), faults: newFaultBoard(), work: &workload{}}
	n.work.setLoad(o.load)
	failed := make(chan error, 2)
	go func() { failed <- serve(metrics, n.metricsHandler()) }()
	go func() { failed <- serve(profiles, n.pprofHandler()) }()
	// From here on a signal ends the node in order: a starter may send one once it knows the ports.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if err := announce(metrics, profiles); err != nil {
		return err
	}
	return waitForEnd(failed, stop)
}

func serve(listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 3 * time.Second}
	return server.Serve(listener)
}

// announce prints the one line that tells a starter where the node listens.
func announce(metrics, profiles net.Listener) error {
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"metrics": metrics.Addr().String(),
		"pprof":   profiles.Addr().String(),
		"pid":     os.Getpid(),
	})
}

// waitForEnd returns when the node is told to stop; requests under way end with the process.
func waitForEnd(failed <-chan error, stop <-chan os.Signal) error {
	starterGone := make(chan struct{})
	if os.Getenv("FODC_SAMPLE_NODE_STDIN") == "watch" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(starterGone)
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-stop:
	case <-starterGone:
	}
	return nil
}
