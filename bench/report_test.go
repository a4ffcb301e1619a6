package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math"
	"runtime"
	"testing"
	"time"
)

func TestATargetIsMissedOnlyByMoreThanTheNoise(t *testing.T) {
	tests := []struct {
		name                string
		value, limit, noise float64
		want                verdict
		fails, failsQuickly bool
	}{
		{name: "just met", value: 1.1, limit: 1.1, want: met},
		{name: "missed by less than the noise", value: 1.15, limit: 1.1, noise: 0.1, want: withinNoise},
		{name: "missed by more than the noise", value: 1.3, limit: 1.1, noise: 0.1, want: missed, fails: true},
		{name: "grossly missed", value: 1.7, limit: 1.1, noise: 0.1, want: missed, fails: true, failsQuickly: true},
		{name: "missed where nothing is allowed", value: 1, want: missed, fails: true, failsQuickly: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := judge(test.value, test.limit, test.noise); got != test.want {
				t.Errorf("the verdict is %q, not %q", got, test.want)
			}
			for quick, want := range map[bool]bool{false: test.fails, true: test.failsQuickly} {
				r := newReport(new(bytes.Buffer), quick)
				if r.target("a value", test.value, test.limit, test.noise, "%.2f"); r.failed != want {
					t.Errorf("quick %v: it fails: %v", quick, r.failed)
				}
			}
		})
	}
}

func TestAQuickRunFailsByATailThatIsFarTooLongOnly(t *testing.T) {
	for took, want := range map[time.Duration]map[bool]bool{ // by whether it is quick
		5 * time.Millisecond:  {false: true, true: false},
		10 * time.Millisecond: {false: true, true: true},
		2 * time.Millisecond:  {false: false, true: false},
	} {
		for quick, fails := range want {
			r := newReport(new(bytes.Buffer), quick)
			if r.times("an end", &times{took: []time.Duration{took}}, 3*time.Millisecond); r.failed != fails {
				t.Errorf("%v, quick %v: it fails: %v", took, quick, r.failed)
			}
		}
	}
}

func TestARatioIsOfSumsAndOfRounds(t *testing.T) {
	c := &comparison{rounds: []round{{sites: [3]float64{2, 1, 1}}, {sites: [3]float64{20, 10, 10}}, {sites: [3]float64{90, 30, 30}}}}
	subject, control := c.subject(), c.control()
	if got, want := subject.sums, 112.0/41; math.Abs(got-want) > 1e-9 {
		t.Errorf("the ratio of sums is %v, not %v", got, want)
	}
	if subject.median != 2 || subject.low != 2 || subject.high != 3 {
		t.Errorf("of the rounds, median %v, low %v, high %v", subject.median, subject.low, subject.high)
	}
	if subject.noise() <= 1 || control.noise() != 0 {
		t.Errorf("the noise of another site is %v, of an equal one %v", subject.noise(), control.noise())
	}
}

func TestTheWorkCountsWithTheReferenceAndNotInTheControl(t *testing.T) {
	c := &comparison{rounds: []round{{sites: [3]float64{6, 1, 1}, work: 2}, {sites: [3]float64{60, 10, 10}, work: 20}}}
	if got := c.subject(); got.sums != 2 || got.median != 2 {
		t.Errorf("the subject is %v times the reference and the work, by rounds %v, not 2", got.sums, got.median)
	}
	if got := c.control(); got.sums != 1 || got.noise() != 0 {
		t.Errorf("the control is %v times the reference, with noise %v", got.sums, got.noise())
	}
}

func TestTheWorkIsDoneAsOftenAsRequestsAreSent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of a thread is known on Linux only")
	}
	done := 0
	c := &comparison{work: func() error { done++; sha256.Sum256(make([]byte, 1<<14)); return nil }}
	spent, err := c.doWork()
	if err != nil || done != batch || spent <= 0 {
		t.Errorf("it is done %d times, not %d, in %v ns of CPU time: %v", done, batch, spent, err)
	}
	refused := errors.New("refused")
	c.work = func() error { return refused }
	if _, err := c.doWork(); !errors.Is(err, refused) {
		t.Errorf("work that fails is measured: %v", err)
	}
}

func TestTimeWithoutWorkIsNoCPUTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of a thread is known on Linux only")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const wait = 50 * time.Millisecond
	spent, err := spend(threadCPUTime, func() error { time.Sleep(wait); return nil })
	if err != nil || spent > float64(wait)/2 {
		t.Errorf("to wait for %v took %v ns of CPU time: %v", wait, spent, err)
	}
}

func TestNoOrderOfSitesIsPreferred(t *testing.T) {
	var after [3][3]int
	for _, turn := range turns {
		after[turn[0]][turn[1]]++
		after[turn[1]][turn[2]]++
	}
	for i := range after {
		for j := range after {
			if i != j && after[i][j] != 2 {
				t.Errorf("site %d comes %d times after site %d", j, after[i][j], i)
			}
		}
	}
}
