package check

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Rates of questions. A page asks once a minute for each state while nothing changes, and at most
// once a second; many browsers may share one address.
const (
	perAddress      = rate.Limit(50)
	burstPerAddress = 500
	perHandle       = rate.Limit(2)
	// BurstPerHandle is how many questions about one handle are answered at once.
	BurstPerHandle = 20

	maxLimited = 1 << 15 // how many addresses, and handles, are counted
)

// A limiter bounds how many questions are answered for an address and for a handle.
type limiter struct {
	now  func() time.Time
	seed maphash.Seed

	mu                 sync.Mutex
	addresses, handles buckets
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{
		now: now, seed: maphash.MakeSeed(), addresses: newBuckets(), handles: newBuckets(),
	}
}

// allow counts a question and reports whether it may be answered.
func (l *limiter) allow(address, handle string) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addresses.allow(now, maphash.String(l.seed, address), perAddress, burstPerAddress) &&
		l.handles.allow(now, maphash.String(l.seed, handle), perHandle, BurstPerHandle)
}

// buckets are kept by hash, of the latest callers. A forgotten caller begins anew, so that an
// attacker needs thousands of addresses to gain a burst.
type buckets struct {
	*simplelru.LRU[uint64, *rate.Limiter]
}

func newBuckets() buckets {
	kept, _ := simplelru.NewLRU[uint64, *rate.Limiter](maxLimited, nil) // fails for no size alone
	return buckets{kept}
}

func (b buckets) allow(now time.Time, key uint64, limit rate.Limit, burst int) bool {
	bucket, found := b.Get(key)
	if !found {
		bucket = rate.NewLimiter(limit, burst)
		b.Add(key, bucket)
	}
	return bucket.AllowN(now, 1)
}
