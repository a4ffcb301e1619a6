package main

import (
	"fmt"
	"time"
)

const (
	// tooBusy is how much of the machine's cores other programs may have: what is measured while
	// they have more is not to be trusted.
	tooBusy = 0.15
	// watchAtLeast is the least CPU time, of all cores, that a share is computed of: the kernel
	// counts in ticks of 10 ms.
	watchAtLeast = 200 * time.Millisecond
)

// A watch says how much of the machine's cores other programs have. Use newWatch.
type watch struct {
	server *process // ours, that runs; nil: none does

	busy, all, own time.Duration // when the share was computed last
	share          float64
}

func newWatch() *watch {
	w := new(watch)
	w.others()
	w.share = 0 // that was since the machine started
	return w
}

// others is the share of other programs since the last call; where the kernel does not say it:
// zero.
func (w *watch) others() float64 {
	busy, all, err := machineTime()
	if err != nil || all-w.all < watchAtLeast {
		return w.share
	}
	own := ownTime()
	if w.server != nil {
		ns, _ := w.server.cpuTime()
		own += time.Duration(ns)
	}
	w.share = share(busy-w.busy, all-w.all, own-w.own)
	w.busy, w.all, w.own = busy, all, own
	return w.share
}

func share(busy, all, own time.Duration) float64 {
	return min(max(0, float64(busy-own)/float64(all)), 1)
}

// note says of a row what it is worth; empty: it can be trusted.
func note(share float64) string {
	if share <= tooBusy {
		return ""
	}
	return fmt.Sprintf("NOT TO BE TRUSTED: other programs had %.0f %% of the CPU", 100*share)
}
