package notify

import (
	"context"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// maxSeen is how many notices of a site one look sees: more than can be tried, since some are in flight, and some hosts have no
	// room.
	maxSeen = 1 << 12
	// dueTimeout is for one call of a site's Due.
	dueTimeout = 5 * time.Second
	// minGap is the least time between two looks. After a long look it is longer: a tenth of the time may be spent on looking.
	minGap   = 10 * time.Millisecond
	gapTimes = 10
)

// run looks until the worker is closed.
func (w *Worker) run() {
	for {
		begun := time.Now()
		w.look()
		gap := min(max(minGap, gapTimes*time.Since(begun)), w.interval)
		if !w.pause(gap, nil) || !w.pause(w.interval-gap, w.wake) {
			return
		}
	}
}

// pause waits, and tells whether the worker goes on.
func (w *Worker) pause(d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-early:
	case <-timer.C:
	}
	return true
}

// look begins a try of all that is due and has room. Sites come in an order that differs each time, so that none is always last.
func (w *Worker) look() {
	w.mu.Lock()
	current := w.inUse()
	w.looking, w.more = true, false
	w.mu.Unlock()

	if current != nil {
		for issuer, site := range current.sites {
			w.guarded("looking for logout notices", issuer, func() { w.lookAt(current, issuer, site) })
		}
	}

	w.mu.Lock()
	w.looking = false
	clear(w.landed)
	w.mu.Unlock()
}

// lookAt begins a try of each notice of one site that is due and has room.
func (w *Worker) lookAt(from *use, issuer string, site Site) {
	if !w.hasPlace(issuer) {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, dueTimeout)
	defer cancel()
	notices, err := site.Due(ctx, w.now(), maxSeen)
	if err != nil {
		// A store that is away says so itself.
		w.logger.Load().Debug("asking for logout notices", zap.String("issuer", issuer), zap.Error(err))
		return
	}
	for _, n := range notices {
		if full := w.begin(from, issuer, site, n); full {
			return
		}
	}
	if len(notices) == maxSeen {
		w.seeMore()
	}
}

// hasPlace tells whether a site may have one more try.
func (w *Worker) hasPlace(issuer string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	has := w.tries < maxTries && w.perSite[issuer] < maxUnsettled
	w.more = w.more || !has
	return has
}

// seeMore notes that there are more notices than were listed.
func (w *Worker) seeMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.more = true
}

// begin begins a try unless the notice is in flight or its host has no room. It tells whether there is no room for any other either.
func (w *Worker) begin(from *use, issuer string, site Site, n Notice) (full bool) {
	key := noticeKey{issuer, n.ID}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.inUse() != from {
		return true
	}
	if w.knows(key) {
		return false
	}
	if w.tries >= maxTries || w.perSite[issuer] >= maxUnsettled {
		w.more = true
		return true
	}
	host := hostOf(n.Target.URI)
	_, probe := w.silent[host]
	if !w.hasRoom(host, probe) {
		w.more = true
		return false
	}

	w.flight[key] = struct{}{}
	w.perSite[issuer]++
	w.take(host, probe)
	w.work.Go(func() { w.try(trial{from, issuer, site, n, host, probe}) })
	return false
}

// hasRoom tells whether a host may have one more try. The caller holds the lock, as for the two that follow.
func (w *Worker) hasRoom(host string, probe bool) bool {
	if probe {
		return w.perHost[host] == 0 && w.probes < maxProbes
	}
	return w.perHost[host] < maxTriesPerHost
}

// take counts a try that begins, and give one that is over.
func (w *Worker) take(host string, probe bool) {
	w.tries++
	w.perHost[host]++
	if probe {
		w.probes++
	}
}

func (w *Worker) give(host string, probe bool) {
	w.tries--
	if w.perHost[host]--; w.perHost[host] == 0 {
		delete(w.perHost, host)
	}
	if probe {
		w.probes--
	}
}

// heard notes whether a host answered. The caller holds the lock.
func (w *Worker) heard(host string, result Result) {
	if result.Status != 0 {
		delete(w.silent, host)
	} else if result.Outcome == Retry && len(w.silent) < maxSilent {
		w.silent[host] = struct{}{}
	}
}

// knows tells whether a notice that a site lists is not to be tried now. The caller holds the lock.
func (w *Worker) knows(key noticeKey) bool {
	_, flying := w.flight[key]
	_, landed := w.landed[key]
	return flying || landed
}

// hostOf returns the host name that tries are counted by.
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
