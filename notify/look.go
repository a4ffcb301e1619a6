package notify

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/publicsuffix"
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

// pause waits, and reports whether the worker goes on.
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

// hasPlace reports whether a site may have one more try.
func (w *Worker) hasPlace(issuer string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	full := w.isFull(issuer)
	w.more = w.more || full
	return !full
}

// isFull reports whether a site may have no more tries. The caller holds the lock.
func (w *Worker) isFull(issuer string) bool {
	return w.tries[0].isFull() && w.tries[1].isFull() || w.perSite[issuer] >= maxUnsettled
}

// seeMore notes that there are more notices than were listed.
func (w *Worker) seeMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.more = true
}

// begin begins a try unless the notice is in flight or its host has no room. It reports whether there is no room for any other either.
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
	if w.isFull(issuer) {
		w.more = true
		return true
	}
	host := hostOf(n.Target)
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

// poolOf returns the pool that tries of a host are from. The caller holds the lock, as for those
// that follow.
func (w *Worker) poolOf(host hostKey) *pool {
	if host.selfRegistered {
		return &w.tries[1]
	}
	return &w.tries[0]
}

// hasRoom reports whether a host may have one more try.
func (w *Worker) hasRoom(host hostKey, probe bool) bool {
	pool := w.poolOf(host)
	switch {
	case pool.isFull():
		return false
	case probe:
		return w.perHost[host] == 0 && pool.probes < pool.most/probeShare
	default:
		return w.perHost[host] < maxTriesPerHost
	}
}

// take counts a try that begins, and give one that is over.
func (w *Worker) take(host hostKey, probe bool) {
	pool := w.poolOf(host)
	pool.tries++
	w.perHost[host]++
	if probe {
		pool.probes++
	}
}

func (w *Worker) give(host hostKey, probe bool) {
	pool := w.poolOf(host)
	pool.tries--
	if w.perHost[host]--; w.perHost[host] == 0 {
		delete(w.perHost, host)
	}
	if probe {
		pool.probes--
	}
}

// heard notes whether a host answered, and in time. The caller holds the lock.
func (w *Worker) heard(host hostKey, result Result, took time.Duration) {
	slow := host.selfRegistered && took > slowAnswer
	switch {
	case result.Status != 0 && !slow:
		delete(w.silent, host)
	case slow || result.Outcome == Retry:
		for other := range w.silent {
			if len(w.silent) < maxSilent {
				break
			}
			delete(w.silent, other)
		}
		w.silent[host] = struct{}{}
	}
}

// knows reports whether a notice that a site lists is not to be tried now. The caller holds the lock.
func (w *Worker) knows(key noticeKey) bool {
	_, flying := w.flight[key]
	_, landed := w.landed[key]
	return flying || landed
}

// A hostKey is what tries are counted by: the host's name; of a client that registered itself,
// the domain that somebody registered, below which names cost nothing. Whoever registers a client
// names any host: what is counted is apart from the same host's other clients.
type hostKey struct {
	name           string
	selfRegistered bool
}

func hostOf(target Target) hostKey {
	host := hostKey{hostName(target.URI), target.SelfRegistered}
	if !target.SelfRegistered {
		return host
	}
	if address, err := netip.ParseAddr(host.name); err == nil {
		address = address.WithZone("").Unmap()
		host.name = address.String()
		if address.Is6() { // whoever has one has at least a /64
			host.name = netip.PrefixFrom(address, 64).Masked().String()
		}
		return host
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(host.name, ".")); err == nil {
		host.name = domain
	}
	return host
}

func hostName(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
