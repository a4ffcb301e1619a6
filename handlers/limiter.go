package handlers

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates of checks. A page asks once a minute for each state while nothing changes, and at most once a second; many browsers may
// share one address.
const (
	checksPerAddress = rate.Limit(50)
	burstPerAddress  = 500
	checksPerHandle  = rate.Limit(2)
	burstPerHandle   = 20

	maxLimited = 1 << 14 // how many addresses, and handles, one generation of counts keeps
)

// A limiter bounds how many checks are answered for an address and for a handle.
type limiter struct {
	now  func() time.Time
	seed maphash.Seed

	mu        sync.Mutex
	addresses generations
	handles   generations
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{
		now:       now,
		seed:      maphash.MakeSeed(),
		addresses: generations{limit: checksPerAddress, burst: burstPerAddress},
		handles:   generations{limit: checksPerHandle, burst: burstPerHandle},
	}
}

// allow counts a check and reports whether it may be answered.
func (l *limiter) allow(address, handle string) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addresses.get(maphash.String(l.seed, address)).AllowN(now, 1) &&
		l.handles.get(maphash.String(l.seed, handle)).AllowN(now, 1)
}

// generations keeps counts by hash, in bounded memory: when the young ones are many, the old ones are forgotten and the young
// grow old. Who is forgotten begins anew, so an attacker needs thousands of addresses to gain a burst.
type generations struct {
	limit      rate.Limit
	burst      int
	young, old map[uint64]*rate.Limiter
}

func (g *generations) get(key uint64) *rate.Limiter {
	if limiter, ok := g.young[key]; ok {
		return limiter
	}
	limiter, ok := g.old[key]
	if !ok {
		limiter = rate.NewLimiter(g.limit, g.burst)
	}
	if len(g.young) >= maxLimited || g.young == nil {
		g.old, g.young = g.young, make(map[uint64]*rate.Limiter)
	}
	g.young[key] = limiter
	return limiter
}
