package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestWhatOtherProgramsHaveIsNeitherOursNorIdle(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		busy, all, own time.Duration
		want           float64
		trusted        bool
	}{
		{busy: 0, all: 2 * s, own: 0, want: 0, trusted: true},
		{busy: s, all: 2 * s, own: s, want: 0, trusted: true},
		{busy: 2 * s, all: 2 * s, own: s / 2, want: 0.75},
		{busy: s, all: 2 * s, own: s - s/5, want: 0.1, trusted: true},
		{busy: s, all: 2 * s, own: s + s/50, want: 0, trusted: true}, // the kernel counts in ticks
	} {
		got := share(test.busy, test.all, test.own)
		if got < test.want-1e-9 || got > test.want+1e-9 || (note(got) == "") != test.trusted {
			t.Errorf("of %v: %v, %q", test, got, note(got))
		}
	}
}

func TestAMissedTargetIsNotJudgedBesideOtherPrograms(t *testing.T) {
	for _, busy := range []bool{false, true} {
		out := new(bytes.Buffer)
		r := newReport(out, false)
		if busy {
			r.watch.share = 0.9
		}
		r.watch.all += time.Hour // so that nothing is computed anew
		r.info("a time", "1 s")
		r.target("another", 2, 1, 0, "%.0f")
		if r.failed == busy {
			t.Errorf("busy %v: it fails: %v", busy, r.failed)
		}
		r.exact("allocations", 2, 1, "%.0f")
		r.flush()
		if marked := strings.Count(out.String(), "NOT TO BE TRUSTED: other programs had 90 % of the CPU"); busy != (marked == 2) || !r.failed {
			t.Errorf("busy %v: %d rows are marked, it fails: %v\n%s", busy, marked, r.failed, out)
		}
	}
}

func TestACallOutOfTimeIsCountedAndReported(t *testing.T) {
	late := fmt.Errorf("%w: %w", registry.ErrUnavailable, context.DeadlineExceeded)
	logins := new(times)
	for i := range 4 {
		err := logins.add(func() error {
			if i == 1 {
				return late
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := logins.add(func() error { return registry.ErrUnavailable }); err == nil {
		t.Error("a store that is broken is out of time")
	}
	out := new(bytes.Buffer)
	r := newReport(out, false)
	r.times("login", logins, 0)
	r.flush()
	if !strings.Contains(out.String(), ", 1 of 5 out of time") {
		t.Errorf("reported: %s", out)
	}
}
