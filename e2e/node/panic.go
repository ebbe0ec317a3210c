// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
)

const (
	// panicFolder is the variable by which BanyanDB is told where it writes its crashes.
	panicFolder = "BYDB_PANIC_DIAGNOSTICS_DIR"
	panicStamp  = "20060102T150405.000000000Z"
	panicPause  = 100 * time.Millisecond
	panicText   = "the sample node was asked to panic"
)

// panicControl answers POST /sample/panic: the node writes its crash down as BanyanDB does and ends.
func panicControl(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	writeJSON(w, map[string]any{"panics": true})
	// In a goroutine of its own, as the server recovers those of its handlers; and when the answer
	// is out.
	time.AfterFunc(panicPause, panicNow)
}

func panicNow() {
	defer func() {
		value := recover()
		if err := writeCrash(time.Now().UTC(), fmt.Sprint(value)); err != nil {
			fmt.Fprintln(os.Stderr, "sample node:", err)
		}
		panic(value)
	}()
	panic(panicText)
}

// writeCrash writes panic.json into a folder of its own that begins with its time.
func writeCrash(at time.Time, value string) error {
	top := os.Getenv(panicFolder)
	if top == "" {
		return nil
	}
	name := fmt.Sprintf("%s-banyandb-%d", at.Format(panicStamp), os.Getpid())
	folder := filepath.Join(top, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	record, err := json.Marshal(map[string]any{
		"occurredAt":      at.Format(time.RFC3339Nano),
		"component":       "banyandb",
		"panicValue":      value,
		"goroutineStack":  string(debug.Stack()),
		"recovered":       true,
		"breadcrumbs":     []any{},
		"processMetadata": map[string]string{"component": "banyandb"},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "panic.json"), record, 0o644)
}
