package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// batch is how many requests are sent to one site before it is the next one's turn: enough for several garbage collections, and
// short, so that what slows the machine for a while meets all sites alike.
const batch = 1000

// A comparison is of three sites in one process: the subject, the reference, and the reference once more as A/A control. What
// the control differs by is noise.
type comparison struct {
	sites  [3]*load // subject, reference, control
	rounds [][3]float64
}

// turns are the orders in which the sites have their batches: all there are, so that none follows another more often.
var turns = [][3]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {1, 0, 2}, {0, 2, 1}}

// run sends rounds of batches and takes the CPU time of each.
func (c *comparison) run(ctx context.Context, server *process, rounds int) error {
	for round := range rounds {
		var spent [3]float64
		for _, i := range turns[round%len(turns)] {
			before, err := server.cpuTime()
			if err != nil {
				return err
			}
			if err := c.sites[i].send(ctx, batch); err != nil {
				return fmt.Errorf("%s: %w", c.sites[i].name, err)
			}
			after, err := server.cpuTime()
			if err != nil {
				return err
			}
			spent[i] = float64(after - before)
		}
		c.rounds = append(c.rounds, spent)
	}
	return nil
}

// perRequest is the CPU time of a request to a site.
func (c *comparison) perRequest(site int) time.Duration {
	return time.Duration(c.sum(site) / float64(len(c.rounds)*batch))
}

func (c *comparison) sum(site int) float64 {
	sum := 0.0
	for _, spent := range c.rounds {
		sum += spent[site]
	}
	return sum
}

// A ratio is of a site's CPU time to the reference's.
type ratio struct {
	sums      float64 // of the sums over all rounds
	median    float64 // of the rounds' own ratios
	low, high float64 // tenth and ninetieth percentile of these
	deviation float64 // their standard deviation over the square root of their number
}

func (c *comparison) ratio(site int) ratio {
	var all []float64
	for _, spent := range c.rounds {
		all = append(all, spent[site]/spent[1])
	}
	slices.Sort(all)
	return ratio{
		sums:   c.sum(site) / c.sum(1),
		median: percentile(all, 50), low: percentile(all, 10), high: percentile(all, 90),
		deviation: standardError(all),
	}
}

// noise is how far the ratio of two equal sites is from 1, by the worse of its two measures, and twice its standard error.
func (r ratio) noise() float64 {
	return max(math.Abs(r.sums-1), math.Abs(r.median-1)) + 2*r.deviation
}

func (r ratio) String() string {
	return fmt.Sprintf("%.3f (rounds: median %.3f, %.2f to %.2f)", r.sums, r.median, r.low, r.high)
}

// percentile returns the value that p percent of the sorted values are not above.
func percentile[T any](sorted []T, p int) T {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func standardError(values []float64) float64 {
	n, sum, squares := float64(len(values)), 0.0, 0.0
	for _, v := range values {
		sum += v
	}
	for _, v := range values {
		squares += (v - sum/n) * (v - sum/n)
	}
	return math.Sqrt(squares / max(n-1, 1) / n)
}
