// Command bench measures what the plugin costs and says whether the targets are met. README.md
// says what is measured and how to read it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "measure less, and fail only when a target is missed by half as much again")
	part := flag.String("part", "", "measure only the part of that `name`: sites, handler, guard, states, registry or notices")
	flag.Parse()
	// testing.Benchmark takes its time per benchmark from a flag; after Parse, so that -help is
	// ours
	testing.Init()

	limits := limitsOf(*quick)
	ctx, cancel := context.WithTimeout(context.Background(), limits.total)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()

	report := newReport(os.Stdout, *quick)
	err := run(ctx, report, limits, *part)
	report.flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || report.failed {
		stop()
		cancel()
		os.Exit(1)
	}
}

// limits are how much is measured.
type limits struct {
	total     time.Duration // of all, the building of Caddy included
	benchtime string        // of one in-process benchmark
	rounds    int           // of one comparison of sites
	guarded   int           // likewise, of those with oidc_guard
	sessions  []int         // in files, the first number being compared with the last
	logins    int           // whose times are taken
	ends      int           // likewise
	expiring  int           // sessions that expire while logins go on
	fanOut    int           // notices that are delivered
}

func limitsOf(quick bool) limits {
	if quick {
		return limits{
			total: 4 * time.Minute, benchtime: "300ms", rounds: 30, guarded: 12, sessions: []int{1e3, 1e4}, logins: 300, ends: 200,
			expiring: 5e3, fanOut: 1000,
		}
	}
	return limits{
		total: 20 * time.Minute, benchtime: "1s", rounds: 150, guarded: 150, sessions: []int{1e3, 1e6}, logins: 2000, ends: 1000,
		expiring: 1e5, fanOut: 10_000,
	}
}

// parts are what is measured, in this order.
var parts = []struct {
	name    string
	measure func(ctx context.Context, r *report, l limits, dir string) error
}{
	{"sites", measureSites},
	{"handler", measureHandler},
	{"guard", measureGuard},
	{"states", measureSessionState},
	{"registry", measureRegistry},
	{"notices", measureNotices},
}

// run measures one part, or all. Files are in a temporary directory, which is gone afterwards.
func run(ctx context.Context, r *report, l limits, only string) error {
	if err := flag.Set("test.benchtime", l.benchtime); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "oidc-session-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	fmt.Printf("%s, %s/%s, %d cores\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	known := false
	for _, part := range parts {
		if only != "" && only != part.name {
			continue
		}
		known = true
		if err := part.measure(ctx, r, l, filepath.Join(dir, part.name)); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if !known {
		return fmt.Errorf("there is no part %q", only)
	}
	return nil
}
