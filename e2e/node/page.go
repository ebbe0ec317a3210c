// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// The page is a pure function of time: every value follows from its row in pages.table, a hash
// of the series and the seconds since start. The Python twin computes the same bytes, hence only
// arithmetic that rounds alike everywhere, and float64() wherever a fused multiply could creep in.

//go:embed pages.table
var pageTable string

const (
	extraFamilySeries = 50
	riseSeconds       = 120.0
)

var (
	roleLetters   = map[string]string{"standalone": "s", "data": "d", "liaison": "l"}
	bounds        = []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"}
	quantiles     = []string{"0", "0.25", "0.5", "0.75", "1"}
	quantileScale = []float64{0.25, 0.5, 0.9, 1.5, 4}
)

type evaluate func(t, start float64) float64

type sampleLine struct {
	prefix string
	value  evaluate
}

type family struct {
	header string
	lines  []sampleLine
}

type row struct {
	name, kind, roles, labels, shape string
	base, mean                       float64
}

// page is what one node shows: the families of its role, padded to a wanted number of series.
type page struct {
	families []family
}

func newPage(role string, series int, runtimeVersion string) (*page, error) {
	p := &page{}
	letter := roleLetters[role]
	count := 0
	last := ""
	for _, text := range strings.Split(pageTable, "\n") {
		if text == "" || text[0] == '#' {
			continue
		}
		r, err := parseRow(text)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(r.roles, letter) {
			continue
		}
		if r.name != last {
			p.families = append(p.families, family{header: header(r.name, r.kind)})
			last = r.name
		}
		lines, err := rowLines(r, runtimeVersion)
		if err != nil {
			return nil, err
		}
		f := &p.families[len(p.families)-1]
		f.lines = append(f.lines, lines...)
		count += len(lines)
	}
	return p, p.pad(series - count)
}

func (p *page) pad(missing int) error {
	for index := 0; missing > 0; index++ {
		r := extraRow(index, min(extraFamilySeries, missing))
		lines, err := rowLines(r, "")
		if err != nil {
			return err
		}
		p.families = append(p.families, family{header(r.name, r.kind), lines})
		missing -= len(lines)
	}
	return nil
}

// writeTo writes the page t seconds after start (Unix time), one family per Write. A series that
// the process can measure itself takes its value from measured.
func (p *page) writeTo(w io.Writer, t, start float64, measured map[string]float64) error {
	var buffer []byte
	for _, f := range p.families {
		buffer = append(buffer[:0], f.header...)
		for _, line := range f.lines {
			value, found := measured[line.prefix]
			if !found {
				value = line.value(t, start)
			}
			buffer = append(append(buffer, line.prefix...), ' ')
			buffer = append(strconv.AppendFloat(buffer, value, 'g', -1, 64), '\n')
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}

func parseRow(text string) (row, error) {
	columns := strings.Fields(text)
	if len(columns) < 6 {
		return row{}, fmt.Errorf("pages.table: too few columns in %q", text)
	}
	r := row{name: columns[0], kind: columns[1], roles: columns[2], labels: columns[3], shape: columns[4]}
	var err error
	if r.base, err = strconv.ParseFloat(columns[5], 64); err != nil {
		return r, fmt.Errorf("pages.table: magnitude of %s: %w", r.name, err)
	}
	if len(columns) > 6 {
		r.mean, err = strconv.ParseFloat(columns[6], 64)
	}
	return r, err
}

func extraRow(index, shards int) row {
	names := make([]string, shards)
	for shard := range names {
		names[shard] = strconv.Itoa(shard)
	}
	r := row{kind: "gauge", shape: "wave", name: fmt.Sprintf("banyandb_sample_extra_%05d", index)}
	if index%2 == 1 {
		r.kind, r.shape, r.name = "counter", "rising", r.name+"_total"
	}
	r.labels = fmt.Sprintf("group=g%d,seg=20261121,shard=%s", index%7, strings.Join(names, "|"))
	r.base = 10000 * float64(1+index%10)
	return r
}

func header(name, kind string) string {
	words := strings.ReplaceAll(strings.TrimPrefix(name, "banyandb_"), "_", " ")
	return fmt.Sprintf("# HELP %s Sample node: %s.\n# TYPE %s %s\n", name, words, name, kind)
}

func rowLines(r row, runtimeVersion string) ([]sampleLine, error) {
	var lines []sampleLine
	for _, labels := range labelTexts(r.labels, runtimeVersion) {
		switch r.shape {
		case "histogram":
			lines = append(lines, histogramLines(r, labels)...)
		case "summary":
			lines = append(lines, summaryLines(r, labels)...)
		default:
			value, err := shapeFunction(r, labels)
			if err != nil {
				return nil, err
			}
			lines = append(lines, sampleLine{r.name + withLabel(labels, ""), value})
		}
	}
	return lines, nil
}

func labelTexts(columns, runtimeVersion string) []string {
	texts := []string{""}
	if columns == "-" {
		return texts
	}
	for _, column := range strings.Split(columns, ",") {
		name, values, _ := strings.Cut(column, "=")
		var longer []string
		for _, text := range texts {
			for _, value := range strings.Split(values, "|") {
				value = strings.ReplaceAll(value, "@runtime", runtimeVersion)
				label := name + `="` + value + `"`
				if text != "" {
					label = text + "," + label
				}
				longer = append(longer, label)
			}
		}
		texts = longer
	}
	return texts
}

func withLabel(labels, extra string) string {
	if labels != "" && extra != "" {
		return "{" + labels + "," + extra + "}"
	}
	if labels+extra == "" {
		return ""
	}
	return "{" + labels + extra + "}"
}

func histogramLines(r row, labels string) []sampleLine {
	size, phase := seriesFactors(r.name, labels)
	count := whole(rising(r.base, size, phase))
	var lines []sampleLine
	for _, text := range bounds {
		bound, _ := strconv.ParseFloat(text, 64)
		fraction := bound / (bound + r.mean)
		lines = append(lines, sampleLine{
			r.name + "_bucket" + withLabel(labels, `le="`+text+`"`),
			whole(scaled(count, fraction)),
		})
	}
	return append(lines,
		sampleLine{r.name + "_bucket" + withLabel(labels, `le="+Inf"`), count},
		sampleLine{r.name + "_sum" + withLabel(labels, ""), scaled(count, r.mean*1.5)},
		sampleLine{r.name + "_count" + withLabel(labels, ""), count})
}

func summaryLines(r row, labels string) []sampleLine {
	size, phase := seriesFactors(r.name, labels)
	count := whole(rising(r.base, size, phase))
	var lines []sampleLine
	for i, quantile := range quantiles {
		value := r.mean * quantileScale[i]
		lines = append(lines, sampleLine{
			r.name + withLabel(labels, `quantile="`+quantile+`"`), fixed(value),
		})
	}
	return append(lines,
		sampleLine{r.name + "_sum" + withLabel(labels, ""), scaled(count, r.mean)},
		sampleLine{r.name + "_count" + withLabel(labels, ""), count})
}

func shapeFunction(r row, labels string) (evaluate, error) {
	size, phase := seriesFactors(r.name, labels)
	switch r.shape {
	case "fixed":
		return fixed(r.base), nil
	case "rising":
		return whole(rising(r.base, size, phase)), nil
	case "seconds":
		return rising(r.base, size, phase), nil
	case "wave":
		return whole(wave(r.base, size, phase)), nil
	case "ratio":
		return wave(r.base, size, phase), nil
	case "uptime":
		return func(t, _ float64) float64 { return t }, nil
	case "unix_s":
		return func(_, start float64) float64 { return start }, nil
	case "unix_ns":
		return func(t, start float64) float64 { return math.Trunc(start+t) * 1e9 }, nil
	}
	return nil, fmt.Errorf("pages.table: %s has the unknown shape %q", r.name, r.shape)
}

func fixed(value float64) evaluate {
	return func(_, _ float64) float64 { return value }
}

func whole(inner evaluate) evaluate {
	return func(t, start float64) float64 { return math.Trunc(inner(t, start)) }
}

func scaled(inner evaluate, factor float64) evaluate {
	return func(t, start float64) float64 { return inner(t, start) * factor }
}

// rising never falls: a steady rate with a slow swing.
func rising(base, sizeFactor, phase float64) evaluate {
	size := base * (0.5 + sizeFactor)
	rate := size / riseSeconds
	return func(t, _ float64) float64 {
		swing := float64(2 * triangle(t/8+phase))
		return size + float64(rate*(t+swing))
	}
}

// wave swings by a quarter around its base.
func wave(base, sizeFactor, phase float64) evaluate {
	period := 60 + float64(60*sizeFactor)
	return func(t, _ float64) float64 {
		return base * (0.75 + float64(0.5*triangle(t/period+phase)))
	}
}

func triangle(x float64) float64 {
	return 1 - math.Abs(float64(2*math.Mod(x, 1))-1)
}

// seriesFactors returns two numbers in [0, 1) that belong to a series; started and finished
// counters of one thing share them.
func seriesFactors(name, labels string) (float64, float64) {
	stem := strings.TrimSuffix(strings.TrimSuffix(name, "_finished"), "_started")
	digest := uint32(2166136261)
	for _, b := range []byte(stem + "{" + labels + "}") {
		digest = (digest ^ uint32(b)) * 16777619
	}
	return float64(digest&0xFFFF) / 65536, float64(digest>>16) / 65536
}
