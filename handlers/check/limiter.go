package check

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Rates of checks. A page asks once a minute for each state while nothing changes, and at most
// once a second; many browsers may share one address.
const (
	checksPerAddress = rate.Limit(50)
	burstPerAddress  = 500
	checksPerHandle  = rate.Limit(2)
	BurstPerHandle   = 20

	maxLimited = 1 << 15 // how many addresses, and handles, are counted
)

// A limiter bounds how many checks are answered for an address and for a handle.
type limiter struct {
	now  func() time.Time
	seed maphash.Seed

	mu        sync.Mutex
	addresses counts
	handles   counts
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{
		now:       now,
		seed:      maphash.MakeSeed(),
		addresses: newCounts(checksPerAddress, burstPerAddress),
		handles:   newCounts(checksPerHandle, BurstPerHandle),
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

// counts are kept by hash, of the latest callers. Who is forgotten begins anew, so that an
// attacker needs thousands of addresses to gain a burst.
type counts struct {
	limit rate.Limit
	burst int
	kept  *simplelru.LRU[uint64, *rate.Limiter]
}

func newCounts(limit rate.Limit, burst int) counts {
	kept, _ := simplelru.NewLRU[uint64, *rate.Limiter](maxLimited, nil) // fails for no size alone
	return counts{limit, burst, kept}
}

func (c counts) get(key uint64) *rate.Limiter {
	limiter, found := c.kept.Get(key)
	if !found {
		limiter = rate.NewLimiter(c.limit, c.burst)
		c.kept.Add(key, limiter)
	}
	return limiter
}
