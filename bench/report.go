package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// How many times its target a value may be in a quick run, which is too short and too disturbed
// for a finer judgement.
const (
	gross     = 1.5
	grossTail = 3 // the slowest few of some hundred calls, which are the disk's
)

// A report is the table of results.
type report struct {
	quick  bool
	failed bool // a target is missed, and that counts
	table  *tabwriter.Writer
	watch  *watch
}

func newReport(w io.Writer, quick bool) *report {
	return &report{quick: quick, table: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), watch: newWatch()}
}

// section begins a new table under a title.
func (r *report) section(title string) {
	r.flush()
	fmt.Fprintf(r.table, "\n%s\n", title)
}

// info adds a value without a target.
func (r *report) info(name, format string, args ...any) {
	r.row(name, fmt.Sprintf(format, args...), "", note(r.watch.others()))
}

// times adds how long calls took. The 99th percentile must be at most limit, unless that is zero.
func (r *report) times(name string, t *times, limit time.Duration) {
	text := fmt.Sprintf("p50 %v, p99 %v", t.percentile(50).Round(time.Microsecond), t.percentile(99).Round(time.Microsecond))
	if t.late > 0 {
		text += fmt.Sprintf(", %d of %d out of time", t.late, len(t.took))
	}
	r.info(name, "%s", text)
	if limit > 0 {
		tail := milliseconds(t.percentile(99))
		r.targetWithin(grossTail, name+": p99 in ms", tail, milliseconds(limit), 0, "%.1f")
	}
}

// target adds a measured value that must be at most limit. noise is how far it may be off, in the
// same unit. Beside other programs it is not judged.
func (r *report) target(name string, value, limit, noise float64, format string) {
	r.targetWithin(gross, name, value, limit, noise, format)
}

func (r *report) targetWithin(gross float64, name string, value, limit, noise float64, format string) {
	doubt := note(r.watch.others())
	v := judge(value, limit, noise)
	if doubt != "" && v != met {
		v = verdict(doubt)
	}
	r.judged(gross, name, value, limit, v, format)
}

// exact adds a value that no other program has a part in, and that must be at most limit.
func (r *report) exact(name string, value, limit float64, format string) {
	r.judged(gross, name, value, limit, judge(value, limit, 0), format)
}

func (r *report) judged(gross float64, name string, value, limit float64, v verdict, format string) {
	if v == missed && (!r.quick || value > gross*limit) {
		r.failed = true
	}
	r.row(name, fmt.Sprintf(format, value), "target <= "+fmt.Sprintf(format, limit), string(v))
}

func (r *report) row(name, value, target, remark string) {
	fmt.Fprintf(r.table, "  %s\t%s\t%s\t%s\n", name, value, target, remark)
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
