package main

import (
	"bytes"
	"math"
	"testing"
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

func TestARatioIsOfSumsAndOfRounds(t *testing.T) {
	c := &comparison{rounds: [][3]float64{{2, 1, 1}, {20, 10, 10}, {90, 30, 30}}}
	subject, control := c.ratio(0), c.ratio(2)
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
