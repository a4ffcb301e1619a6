package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// gross is how many times its target a value may be in a quick run, which is too short and too disturbed for a finer judgement.
const gross = 1.5

// A report is the table of results.
type report struct {
	quick  bool
	failed bool // a target is missed, and that counts
	table  *tabwriter.Writer
}

func newReport(w io.Writer, quick bool) *report {
	return &report{quick: quick, table: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
}

// section begins a new table under a title.
func (r *report) section(title string) {
	r.flush()
	fmt.Fprintf(r.table, "\n%s\n", title)
}

// info adds a value without a target.
func (r *report) info(name, format string, args ...any) {
	fmt.Fprintf(r.table, "  %s\t%s\t\t\n", name, fmt.Sprintf(format, args...))
}

// target adds a value that must be at most limit. noise is how far a measured value may be off, in the same unit; 0: it is exact.
func (r *report) target(name string, value, limit, noise float64, format string) {
	v := judge(value, limit, noise)
	if v == missed && (!r.quick || value > gross*limit) {
		r.failed = true
	}
	fmt.Fprintf(r.table, "  %s\t%s\ttarget <= %s\t%s\n", name, fmt.Sprintf(format, value), fmt.Sprintf(format, limit), v)
}

// flush writes what was added, its columns aligned.
func (r *report) flush() { _ = r.table.Flush() }

// A verdict says whether a target is met.
type verdict string

const (
	met         verdict = "met"
	withinNoise verdict = "missed by no more than the noise"
	missed      verdict = "MISSED"
)

func judge(value, limit, noise float64) verdict {
	switch {
	case value <= limit:
		return met
	case value-limit <= noise:
		return withinNoise
	default:
		return missed
	}
}
