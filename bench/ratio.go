package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// batch is how many requests are sent to one site before it is the next one's turn: enough for
// several garbage collections, and short, so that what slows the machine for a while meets all
// sites alike.
const batch = 1000

// A comparison is of three sites in one process: the subject, the reference, and the reference
// once more as A/A control. What the control differs by is noise.
type comparison struct {
	sites [3]*load // subject, reference, control
	// done in this process, once for each request; its CPU time is added to the reference's. nil:
	// none
	work     func() error
	workName string
	rounds   []round
}

// A round is the CPU time, in ns, of one batch to each site and of as many times the work.
type round struct {
	sites [3]float64
	work  float64
}

// turns are the orders in which the sites have their batches: all there are, so that none follows
// another more often.
var turns = [][3]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {1, 0, 2}, {0, 2, 1}}

// run sends rounds of batches and takes the CPU time of each. The work is done in every round too,
// and not in one go: what slows the machine for a while slows both.
func (c *comparison) run(ctx context.Context, server *process, rounds int) error {
	for n := range rounds {
		var r round
		for _, i := range turns[n%len(turns)] {
			spent, err := spend(server.cpuTime, func() error { return c.sites[i].send(ctx, batch) })
			if err != nil {
				return fmt.Errorf("%s: %w", c.sites[i].name, err)
			}
			r.sites[i] = spent
		}
		if c.work != nil {
			spent, err := c.doWork()
			if err != nil {
				return fmt.Errorf("%s: %w", c.workName, err)
			}
			r.work = spent
		}
		c.rounds = append(c.rounds, r)
	}
	return nil
}

// doWork does the work for one batch, in a thread that does nothing else meanwhile, and returns
// the CPU time of that.
func (c *comparison) doWork() (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return spend(threadCPUTime, func() error {
		for range batch {
			if err := c.work(); err != nil {
				return err
			}
		}
		return nil
	})
}

// spend does something and returns by how much a clock advanced, in ns.
func spend(clock func() (int64, error), do func() error) (float64, error) {
	before, err := clock()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := clock()
	return float64(after - before), err
}

// perRequest is the CPU time of a request to a site.
func (c *comparison) perRequest(site int) time.Duration {
	return time.Duration(c.sum(site) / float64(len(c.rounds)*batch))
}

func (c *comparison) sum(site int) float64 {
	sum := 0.0
	for _, r := range c.rounds {
		sum += r.sites[site]
	}
	return sum
}

// perWork is the CPU time of doing the work once.
func (c *comparison) perWork() time.Duration {
	sum := 0.0
	for _, r := range c.rounds {
		sum += r.work
	}
	return time.Duration(sum / float64(len(c.rounds)*batch))
}

// A ratio is of CPU times, of the rounds of a comparison.
type ratio struct {
	sums      float64 // of the sums over all rounds
	median    float64 // of the rounds' own ratios
	low, high float64 // tenth and ninetieth percentile of these
	deviation float64 // their standard deviation over the square root of their number
}

// subject is the ratio of the subject to the reference and the work.
func (c *comparison) subject() ratio {
	return c.ratio(func(r round) (float64, float64) { return r.sites[0], r.sites[1] + r.work })
}

// control is the ratio of the two equal sites.
func (c *comparison) control() ratio {
	return c.ratio(func(r round) (float64, float64) { return r.sites[2], r.sites[1] })
}

func (c *comparison) ratio(of func(round) (above, below float64)) ratio {
	var all []float64
	var sumAbove, sumBelow float64
	for _, r := range c.rounds {
		above, below := of(r)
		all = append(all, above/below)
		sumAbove, sumBelow = sumAbove+above, sumBelow+below
	}
	slices.Sort(all)
	return ratio{
		sums:   sumAbove / sumBelow,
		median: percentile(all, 50), low: percentile(all, 10), high: percentile(all, 90),
		deviation: standardError(all),
	}
}

// noise is how far the ratio of two equal sites is from 1, by the worse of its two measures, and
// twice its standard error.
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
