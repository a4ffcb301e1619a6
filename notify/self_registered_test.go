package notify

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Threat: whoever may register clients has thousands of hosts that take long to answer.
func TestThreatSlowReceiversOfSelfRegisteredClientsDelayNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hostile, well := newPiped(t, slow(3*time.Second)), newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"well": well, "*": hostile})
		for i := range 2000 {
			w.owe(fmt.Sprintf("self%d", i), w.clock.Now().Add(-time.Hour))
		}
		first := w.owe("well", w.clock.Now())
		begun := time.Now()
		w.begin()
		w.settles(t, first.ID(), 1)
		eventually(t, "as many tries as they have", func() bool { return hostile.mostAtOnce() == maxSelfRegistered })
		second := w.owe("well", w.clock.Now())
		w.Wake()
		w.settles(t, second.ID(), 1)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if most := hostile.mostAtOnce(); most > maxSelfRegistered {
			t.Errorf("%d tries at once", most)
		}
	})
}

// One that takes more than a second counts as one that does not answer, for itself and for the
// others of its kind.
func TestASlowSelfRegisteredClientIsTriedOneNoticeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, slow(slowAnswer+50*time.Millisecond))
		w := newWorld(t, map[string]*receiver{"*": r})
		w.owe("self", w.clock.Now())
		w.begin()
		eventually(t, "a slow answer", func() bool { w.Worker.mu.Lock(); defer w.Worker.mu.Unlock(); return len(w.hosts.silent) == 1 })
		r.forget()
		for range 5 {
			w.owe("self", w.clock.Now())
		}
		eventually(t, "two more", func() bool { w.Advance(time.Second); return len(r.tokens()) >= 2 })
		if most := r.mostAtOnce(); most != 1 {
			t.Errorf("%d tries at once of a host that is slow", most)
		}
	})
}

func TestHostsOfSelfRegisteredClientsAreCountedByRegistrableDomain(t *testing.T) {
	for uri, want := range map[string]string{
		"https://a.evil.example/back": "evil.example", "https://b.c.EVIL.example:8443/": "evil.example", "https://a.evil.example./": "evil.example",
		"https://a.evil.co.uk/": "evil.co.uk", "https://co.uk/": "co.uk", "https://192.0.2.1/": "192.0.2.1",
		"https://[::ffff:192.0.2.1]/": "192.0.2.1", "https://[2001:db8::1]/": "2001:db8::/64", "https://[2001:db8::2]:444/": "2001:db8::/64", "%": "",
	} {
		if got := hostOf(Target{URI: uri, SelfRegistered: true}); got.name != want || !got.selfRegistered {
			t.Errorf("%s is counted as %+v, want %s", uri, got, want)
		}
	}
	if got := hostOf(Target{URI: "https://a.example.com/"}); got != (hostKey{name: "a.example.com"}) {
		t.Errorf("that of another client is counted as %+v", got)
	}
}
