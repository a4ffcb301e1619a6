package notify

import (
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

const (
	maxTries        = 256 // at once, over all clients but those that registered themselves
	maxTriesPerHost = 8   // at once, so that a host that hangs does not hold up the others
	// maxSelfRegistered is how many tries there are at once to clients that registered themselves:
	// anybody who may register clients has any number of slow hosts.
	maxSelfRegistered = maxTries / 4
	// maxWaiting is how many claimed notices wait for their hosts to have room, or for their
	// outcomes to be recorded. While there are more, no others are claimed.
	maxWaiting = 4 * maxTries

	// Hosts that did not answer are tried one notice at a time, and all of them together by one of
	// probeShare tries at once: the rest is for those that answer, however many do not.
	probeShare = 4
	// slowAnswer is from when on an answer of a client that registered itself counts as none for
	// that.
	slowAnswer = time.Second
	// maxSilent is how many such hosts are known.
	maxSilent = 10_000
)

// hosts count the tries under way.
type hosts struct {
	tries   [2]pool // to other clients, and to those that registered themselves
	perHost map[hostKey]int
	// that did not answer the last try, with how many notices were put off since
	silent map[hostKey]int
}

func newHosts() hosts {
	return hosts{
		tries:   [2]pool{{most: maxTries}, {most: maxSelfRegistered}},
		perHost: make(map[hostKey]int), silent: make(map[hostKey]int),
	}
}

// A pool counts tries, of which there is a most.
type pool struct {
	most   int
	tries  int // under way
	probes int // of those, to silent hosts
}

func (h *hosts) poolOf(host hostKey) *pool {
	if host.selfRegistered {
		return &h.tries[1]
	}
	return &h.tries[0]
}

// take counts a try that begins, if the host may have one more. probe: it did not answer the last
// one.
func (h *hosts) take(host hostKey) (probe, ok bool) {
	pool := h.poolOf(host)
	_, probe = h.silent[host]
	switch {
	case pool.tries >= pool.most:
		return probe, false
	case probe && (h.perHost[host] > 0 || pool.probes >= pool.most/probeShare):
		return probe, false
	case h.perHost[host] >= maxTriesPerHost:
		return probe, false
	}
	pool.tries++
	h.perHost[host]++
	if probe {
		pool.probes++
	}
	return probe, true
}

// give counts a try that has ended.
func (h *hosts) give(host hostKey, probe bool) {
	pool := h.poolOf(host)
	pool.tries--
	if h.perHost[host]--; h.perHost[host] == 0 {
		delete(h.perHost, host)
	}
	if probe {
		pool.probes--
	}
}

// noteResult remembers whether a host answered, and in time.
func (h *hosts) noteResult(host hostKey, result Result, took time.Duration) {
	slow := host.selfRegistered && took > slowAnswer
	switch {
	case result.Status != 0 && !slow:
		delete(h.silent, host)
	case slow || result.mayPass():
		for other := range h.silent {
			if len(h.silent) < maxSilent {
				break
			}
			delete(h.silent, other)
		}
		h.silent[host] += 0
	}
}

// putOff returns for how long a notice is put off whose host has no room: as long as all those of
// a silent host may take, so that they are not claimed again and again.
func (h *hosts) putOff(host hostKey) time.Duration {
	spread := waitLimit
	if n, silent := h.silent[host]; silent {
		h.silent[host] = n + 1
		spread = min(spread+time.Duration(n)*2*time.Millisecond, maxPutOff)
	}
	return waitLimit + rand.N(spread) //nolint:gosec // spreads load, guards nothing
}

// A hostKey is what tries are counted by: the host's name; of a client that registered itself, the
// domain that somebody registered, below which names cost nothing. Whoever registers a client
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
		if address.Is6() { // an attacker with one has at least a /64
			host.name = netip.PrefixFrom(address, 64).Masked().String()
		}
		return host
	}
	name := strings.TrimSuffix(host.name, ".")
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
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
