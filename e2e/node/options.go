// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// options are the parts of the command line that the sample node acts on.
type options struct {
	role        string
	metricsAddr string
	pprofAddr   string
	nodeLabels  string
	load        int
	series      int
	mutexRate   int
	blockRate   int
	pageOnly    bool
	at          float64
}

// banyandPrefixes are the beginnings of BanyanDB's own flags: accepted without effect, so that
// /debug/pprof/cmdline can look like that of a real installation.
var banyandPrefixes = []string{
	"access-log", "auth", "cert-file", "data-", "dst-", "enable-", "etcd-", "grpc-", "host",
	"http-", "key-file", "liaison-", "logging-", "max-", "measure-", "metadata-", "namespace",
	"node-", "observability-", "property-", "schema-", "slow-", "stream-", "tls", "trace-",
}

func parseOptions(arguments []string) (options, error) {
	o := options{role: "data", metricsAddr: "127.0.0.1:2121", pprofAddr: "127.0.0.1:6060"}
	for i := 0; i < len(arguments); i++ {
		text := arguments[i]
		if !strings.HasPrefix(text, "--") {
			if err := o.positional(i, text); err != nil {
				return o, err
			}
			continue
		}
		name, value, joined := strings.Cut(text[2:], "=")
		if !joined && i+1 < len(arguments) && !strings.HasPrefix(arguments[i+1], "--") {
			i++
			value = arguments[i]
		}
		if err := o.set(name, value); err != nil {
			return o, err
		}
	}
	if roleLetters[o.role] == "" {
		return o, fmt.Errorf("--role: %q is not one of data, liaison, standalone", o.role)
	}
	return o, nil
}

func (o *options) positional(index int, text string) error {
	if index != 0 {
		return fmt.Errorf("%q: only the first word may be without dashes", text)
	}
	if text == "page" {
		o.pageOnly = true
		return nil
	}
	o.role = text
	return nil
}

func (o *options) set(name, value string) (err error) {
	switch name {
	case "role":
		o.role = value
	case "observability-listener-addr":
		o.metricsAddr = value
	case "pprof-listener-addr":
		o.pprofAddr = value
	case "node-labels":
		o.nodeLabels = value
	case "load":
		o.load, err = count(name, value)
	case "series":
		o.series, err = count(name, value)
	case "mutex-rate":
		o.mutexRate, err = count(name, value)
	case "block-rate":
		o.blockRate, err = count(name, value)
	case "at":
		o.at, err = strconv.ParseFloat(value, 64)
	default:
		err = unknownFlag(name)
	}
	return err
}

func unknownFlag(name string) error {
	for _, prefix := range banyandPrefixes {
		if strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return fmt.Errorf("--%s: neither a flag of the sample node nor one of BanyanDB", name)
}

func count(name, value string) (int, error) {
	number, err := strconv.Atoi(value)
	if err != nil || number < 0 {
		return 0, fmt.Errorf("--%s: %q is not a whole number of at least 0", name, value)
	}
	return number, nil
}
