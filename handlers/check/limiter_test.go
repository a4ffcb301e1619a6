package check

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"
)

func newFixedLimiter() *limiter {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return newLimiter(func() time.Time { return at })
}

func TestTheLimiterKeepsABoundedNumber(t *testing.T) {
	l := newFixedLimiter()
	for i := range 2*maxLimited + 5 {
		if !l.allow(fmt.Sprint(i), fmt.Sprint(i)) {
			t.Fatal("the first check of an address was refused")
		}
	}
	if addresses, handles := l.addresses.Len(), l.handles.Len(); addresses > maxLimited || handles > maxLimited {
		t.Errorf("%d and %d are kept", addresses, handles)
	}
}

func TestTheLimiterDoesNotForgetWhoKeepsAsking(t *testing.T) {
	l := newFixedLimiter()
	taken := 0
	for i := range 2 * maxLimited {
		if i%(maxLimited/4) == 0 {
			for range BurstPerHandle {
				if l.handles.allow(l.now(), maphash.String(l.seed, "asked"), perHandle, BurstPerHandle) {
					taken++
				}
			}
		}
		l.handles.allow(l.now(), maphash.String(l.seed, fmt.Sprint(i)), perHandle, BurstPerHandle)
	}
	if taken != BurstPerHandle {
		t.Errorf("%d checks were taken while no time passed", taken)
	}
}
