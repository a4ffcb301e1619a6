package e2e

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	kills  = 20
	people = 6
)

// A ledger is what people know for certain: which of their sessions live, and which have ended.
type ledger struct {
	mu    sync.Mutex
	live  map[signedIn]bool
	ended []signedIn // since they were looked at
	total int        // of ended
}

func (l *ledger) set(a signedIn, live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if live {
		l.live[a] = true
	} else {
		delete(l.live, a)
	}
}

func (l *ledger) end(a signedIn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, a)
	l.total++
}

// take returns what there is to look at.
func (l *ledger) take() (live, ended []signedIn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a := range l.live {
		live = append(live, a)
	}
	ended, l.ended = l.ended, nil
	return live, ended
}

func (l *ledger) isLive(a signedIn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live[a]
}

// An end that was acknowledged outlives Caddy, and nobody is told of one that was not.
func TestCaddyIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	op := leavable[1] // its own sign-out is asked at once
	op.signOut = scriptedProvider.signOut
	s, host := newSite(t), op.host(crossSite)
	s.careless = true // who signs out once more than the OP knows of is warned of
	s.addOP(t, host, op)
	s.start(t)
	c := &cell{op: op, site: s, browser: startBrowser(t, blocked), host: host}
	shop := c.open(t, shopHost, "")
	c.signIn(t, shop, "alice", true)
	shop.waitFor(t, "replies.unchanged > 0")
	watched := signedInHere(t, shop, "shop")

	l, asking := &ledger{live: map[signedIn]bool{watched: true}}, newPerson(t, s, host)
	stop, over := make(chan struct{}), sync.WaitGroup{}
	for range people {
		over.Go(func() {
			for signInAndOut(t, s, host, l, stop) {
			}
		})
	}
	for i := range kills {
		time.Sleep(time.Duration(i%5) * 100 * time.Millisecond)
		s.restart(t, func() { expectSound(t, s.caddy) })
		l.look(t, asking)
	}
	close(stop)
	over.Wait()
	l.look(t, asking)
	expectSound(t, s.caddy)
	t.Logf("%d sessions ended", l.total)
	if l.total < kills {
		t.Errorf("%d sessions ended: this test shows little", l.total)
	}

	before := replies(t, shop, "unchanged")
	expectUnchanged(t, shop, before+2)
	c.op.signOut(t, c.browser.open(t, s.url(host, "/")))
	if got := event(t, shop); got != "signed out" {
		t.Errorf("after the sign-out, the events are %q", got)
	}
}

// signInAndOut is what a person does, until it succeeds or is not known to. It reports whether to
// go on.
func signInAndOut(t *testing.T, s *site, host string, l *ledger, stop <-chan struct{}) bool {
	p := newPerson(t, s, host)
	defer p.close()
	for {
		select {
		case <-stop:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		a, err := p.signIn("shop", rand.Text()) // a user has a hundred sessions at most
		if err != nil {
			continue
		}
		if got, err := p.ask(a); err == nil && got == "changed" {
			t.Error("the server says changed at once")
		} else {
			l.set(a, got == "unchanged") // else it is in the browser's cookie only
		}
		time.Sleep(50 * time.Millisecond)
		l.set(a, false)
		for range 50 {
			if _, back, err := p.signOut(a); err == nil {
				if back {
					l.end(a)
				}
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		return true
	}
}

// look expects that the server knows what people know.
func (l *ledger) look(t *testing.T, asking *person) {
	t.Helper()
	live, ended := l.take()
	for _, a := range ended {
		if got := asking.learn(t, a); got != "changed" {
			t.Errorf("the server says %q of a session that has ended", got)
		}
	}
	for _, a := range live {
		if got := asking.learn(t, a); got != "unchanged" && l.isLive(a) {
			t.Errorf("the server says %q of a session that lives", got)
		}
	}
}

// expectSound expects that the log has no error of the plugin's.
func expectSound(t *testing.T, p *process) {
	t.Helper()
	for _, line := range p.output.snapshot() {
		var entry logEntry
		if json.Unmarshal([]byte(line), &entry) == nil && strings.Contains(entry.Logger, "oidc_session") && entry.Level == "error" {
			t.Errorf("the plugin complained: %s", line)
		}
	}
}
