package notify

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestANoticeIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{200, 204} {
			r := newPiped(t, answers(status))
			w := newWorld(t, map[string]*receiver{"rp": r})
			n := w.owe("rp", w.clock.Now())
			settled := w.Recorded()
			w.begin()
			<-settled
			if got := w.settlement(n.ID()); got != (registry.Outcome{Delivered: true, Attempts: 1}) {
				t.Errorf("got %+v", got)
			}
			if owed, delivered, _ := w.count(); owed != 0 || delivered != 1 {
				t.Errorf("%d owed, %d delivered", owed, delivered)
			}
			if lines := w.logs.FilterMessage("logout delivered").All(); len(lines) != 1 || lines[0].Level != zapcore.InfoLevel {
				t.Errorf("got lines %v", w.logs.All())
			} else {
				fields := lines[0].ContextMap()
				for name, want := range map[string]any{"notice": n.ID().String(), "issuer": theIssuer, "client_id": "rp", "reason": "logout", "attempts": int64(1), "host": "rp.rp.test"} {
					if fields[name] != want {
						t.Errorf("%s is %v, want %v", name, fields[name], want)
					}
				}
			}
			w.noSecrets(t)
		}
	})
}

func TestWakeHasNewNoticesSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.interval = time.Hour
		w.begin()
		eventually(t, "the first look", func() bool { return w.claims.Load() > 0 })
		n := w.owe("rp", w.clock.Now())
		w.Wake()
		w.settles(t, n.ID(), 1)
	})
}

func TestWithoutAWakeNoticesAreFoundAtTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.begin()
		eventually(t, "the first look", func() bool { return w.claims.Load() > 0 })
		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
	})
}

func TestAFailureThatMayPassIsTriedAgainAfterADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(500, 200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		n := w.owe("rp", w.clock.Now())
		w.begin()
		first := w.settles(t, n.ID(), 1)
		if wait := first.Due.Time().Sub(w.clock.Now()); wait < 800*time.Millisecond || wait > 1200*time.Millisecond {
			t.Errorf("the next try is due in %v", wait)
		}
		if first.Delivered || first.Dead || first.Why != "answered with status 500" {
			t.Errorf("got %+v", first)
		}

		// The clock stands still, so nothing is due, however often the worker looks.
		calls := w.claims.Load()
		eventually(t, "more looks", func() bool { return w.claims.Load() >= calls+5 })
		if n := len(r.tokens()); n != 1 {
			t.Fatalf("%d requests before the delay was over", n)
		}

		w.Advance(1200 * time.Millisecond)
		w.Wake()
		if got := w.settles(t, n.ID(), 2); !got.Delivered {
			t.Errorf("got %+v", got)
		}
		if warned := w.logs.FilterLevelExact(zapcore.WarnLevel).Len(); warned != 1 {
			t.Errorf("%d warnings, want one", warned)
		}
		w.noSecrets(t)
	})
}

func TestThreat9EachAttemptHasATokenOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(500, 503, 429, 200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		n := w.owe("rp", w.clock.Now())
		w.begin()
		for attempt := 1; attempt <= 4; attempt++ {
			w.settles(t, n.ID(), attempt)
			w.Advance(time.Minute)
			w.Wake()
		}
		tokens := r.tokens()
		slices.Sort(tokens)
		if len(slices.Compact(tokens)) != 4 {
			t.Errorf("got %v", r.tokens())
		}
	})
}

func TestAClientThatAsksForTimeGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Bool
		r := newPiped(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.CompareAndSwap(false, true) {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		w := newWorld(t, map[string]*receiver{"rp": r})
		n := w.owe("rp", w.clock.Now())
		w.begin()
		if got, want := w.settles(t, n.ID(), 1).Due, registry.At(w.clock.Now().Add(2*time.Minute)); got != want {
			t.Errorf("due %v, want %v", got, want)
		}
		w.Advance(2 * time.Minute)
		w.Wake()
		if !w.settles(t, n.ID(), 2).Delivered {
			t.Error("not delivered")
		}
	})
}

func TestAClientThatRefusesIsNotNotifiedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{400, 302, 307, 404} {
			r := newPiped(t, answers(status))
			w := newWorld(t, map[string]*receiver{"rp": r})
			n := w.owe("rp", w.clock.Now())
			w.begin()
			if got := w.settles(t, n.ID(), 1); !got.Dead || got.Delivered || got.Why == "" {
				t.Errorf("%d: got %+v", status, got)
			}
			w.Advance(time.Hour)
			calls := w.claims.Load()
			eventually(t, "more looks", func() bool { return w.claims.Load() >= calls+3 })
			if n := len(r.tokens()); n != 1 {
				t.Errorf("%d: told %d times", status, n)
			}
			lines := w.logs.FilterMessage("logout given up").All()
			if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel || lines[0].ContextMap()["advice"] != adviceRefused {
				t.Errorf("%d: got lines %v", status, w.logs.All())
			}
			w.noSecrets(t)
		}
	})
}

func TestTheOriginThatAClientRedirectsToIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for location, want := range map[string]string{
			"https://b.rp.test:8443/elsewhere?secret=x#y": "https://b.rp.test:8443",
			"https://user:secret@b.rp.test/":              "https://b.rp.test",
			"https://\u202eb.rp.test/":                    "https://%E2%80%AEb.rp.test",
			"/login?secret=x":                             "http://rp.rp.test",
			"mailto:secret@b.rp.test":                     "",
			"":                                            "",
		} {
			r := newPiped(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			})
			w := newWorld(t, map[string]*receiver{"rp": r})
			n := w.owe("rp", w.clock.Now())
			w.begin()
			why, advice := "answered with status 302", adviceRefused
			if want != "" {
				why, advice = why+": backchannel_logout_uri must be the final address, and it redirects to "+want, adviceMoved
			}
			if got := w.settles(t, n.ID(), 1); !got.Dead || got.Why != why {
				t.Errorf("%q: got %+v", location, got)
			}
			lines := w.logs.FilterMessage("logout given up").FilterField(zap.String("why", why)).All()
			if len(lines) != 1 || lines[0].ContextMap()["advice"] != advice {
				t.Errorf("%q: got lines %v", location, w.logs.All())
			}
			w.noSecrets(t)
		}
	})
}

// It has ended its session before it asked for the sign-out: there is none left that it could end.
func TestTheClientThatAskedMayRefuseForItsSessionIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			asked  bool
			status int
			gone   bool
		}{{true, 400, true}, {false, 400, false}, {true, 401, false}, {true, 404, false}} {
			w := newWorld(t, map[string]*receiver{"rp": newPiped(t, answers(test.status))})
			n := w.owe("rp", w.clock.Now())
			n.Asked = test.asked
			w.put(n)
			w.begin()
			if got := w.settles(t, n.ID(), 1); got.Delivered != test.gone || got.Dead == test.gone {
				t.Errorf("%+v: %+v", test, got)
			}
			lines := w.logs.FilterMessage("client that asked for the logout has ended its session already").All()
			if given := w.logs.FilterMessage("logout given up").Len(); (given == 0) != test.gone || (len(lines) == 1) != test.gone {
				t.Errorf("%+v: logged %v", test, w.logs.All())
			}
			if test.gone && lines[0].Level != zapcore.InfoLevel {
				t.Errorf("logged at %v", lines[0].Level)
			}
			w.noSecrets(t)
		}
	})
}

func TestAClientThatIsDownForHoursIsNotifiedWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := newPiped(t, func(w http.ResponseWriter, _ *http.Request) {
			if !up.Load() {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		w := newWorld(t, map[string]*receiver{"rp": r})
		n := w.owe("rp", w.clock.Now())
		w.begin()
		begun := w.clock.Now()
		attempts := 0
		for w.clock.Now().Sub(begun) < 6*time.Hour {
			attempts++
			due := w.settles(t, n.ID(), attempts).Due
			w.Advance(due.Time().Sub(w.clock.Now()))
			w.Wake()
		}
		w.settles(t, n.ID(), attempts+1)
		// A second, two, four and so on to ten minutes, then six an hour.
		if attempts < 35 || attempts > 60 {
			t.Errorf("%d attempts in six hours", attempts)
		}

		up.Store(true)
		w.Advance(12 * time.Minute)
		w.Wake()
		if !w.settles(t, n.ID(), attempts+2).Delivered {
			t.Error("not delivered")
		}
		if warned := w.logs.FilterLevelExact(zapcore.WarnLevel).Len(); warned != 1 {
			t.Errorf("%d warnings in six hours, want one", warned)
		}
	})
}

func TestAClientThatIsDownForTooLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(500))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.site.retryFor = time.Hour
		n := w.owe("rp", w.clock.Now())
		w.begin()
		for attempt := 1; attempt < 7; attempt++ {
			w.settles(t, n.ID(), attempt)
			w.Advance(9 * time.Minute)
			w.Wake()
		}
		if w.settles(t, n.ID(), 7).Dead {
			t.Error("given up too early")
		}
		w.Advance(6 * time.Minute)
		w.Wake()
		if got := w.settles(t, n.ID(), 8); !got.Dead || got.Attempts != 8 {
			t.Errorf("got %+v", got)
		}
		if lines := w.logs.FilterMessage("logout given up").All(); len(lines) != 1 || lines[0].ContextMap()["advice"] != adviceLate {
			t.Errorf("got lines %v", w.logs.All())
		}
	})
}

// The server was off for long: the notice is old, but its client was not asked in that time. And
// the network comes up after the server.
func TestANoticeThatWasOldAtTheStartHasSixTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for failures, delivered := range map[int]bool{0: true, 5: true, 6: false} {
			var asked atomic.Int64
			r := newPiped(t, func(w http.ResponseWriter, _ *http.Request) {
				if int(asked.Add(1)) <= failures {
					w.WriteHeader(http.StatusBadGateway)
				}
			})
			w := newWorld(t, map[string]*receiver{"rp": r})
			n := w.owe("rp", w.clock.Now().Add(-30*24*time.Hour))
			w.begin()
			for attempt := 1; attempt <= min(failures, 5); attempt++ {
				w.settles(t, n.ID(), attempt)
				w.Advance(time.Minute)
				w.Wake()
			}
			if got := w.settles(t, n.ID(), min(failures+1, 6)); got.Delivered != delivered || got.Dead == delivered {
				t.Errorf("after %d failures: %+v", failures, got)
			}
		}
	})
}

func TestAKeyThatIsAwayIsAFailureThatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.site.noKey.Store(true)
		n := w.owe("rp", w.clock.Now())
		w.begin()
		if got := w.settles(t, n.ID(), 1); got.Dead || got.Why != errNoToken.Error() {
			t.Errorf("got %+v", got)
		}
		w.site.noKey.Store(false)
		w.Advance(2 * time.Second)
		w.Wake()
		if !w.settles(t, n.ID(), 2).Delivered {
			t.Error("not delivered")
		}
	})
}

func TestAKeyThatStaysAwayIsSaidWhenTheNoticeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.noKey.Store(true)
		n := w.owe("rp", w.clock.Now())
		w.Advance(w.site.retryFor)
		w.begin()
		for attempt := 1; attempt < 6; attempt++ {
			w.settles(t, n.ID(), attempt)
			w.Advance(time.Minute)
			w.Wake()
		}
		if got := w.settles(t, n.ID(), 6); !got.Dead {
			t.Errorf("got %+v", got)
		}
		if lines := w.logs.FilterMessage("logout given up").All(); len(lines) != 1 || lines[0].ContextMap()["advice"] != adviceNoToken {
			t.Errorf("logged %v", lines)
		}
	})
}

// A try is no use where no key will ever fit: the operator is told at once, and told what to do.
func TestAClientWhoseTokensNobodyCanSignIsGivenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.site.noAlg.Store(true)
		n := w.owe("rp", w.clock.Now())
		w.begin()
		if got := w.settles(t, n.ID(), 1); !got.Dead || got.Why != "no logout token can be signed for the client: no signing key for HS256" {
			t.Errorf("got %+v", got)
		}
		lines := w.logs.FilterMessage("logout given up").All()
		if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel || lines[0].ContextMap()["advice"] != adviceNoKey {
			t.Errorf("logged %v", w.logs.All())
		}
		if len(r.tokens()) != 0 {
			t.Error("the client was told all the same")
		}
		w.noSecrets(t)
	})
}

func TestAPanicIsAFailureThatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.site.panics.Store(true)
		n := w.owe("rp", w.clock.Now())
		w.begin()
		if got := w.settles(t, n.ID(), 1); got.Dead || got.Why != errPanicked.Error() {
			t.Errorf("got %+v", got)
		}
		w.site.panics.Store(false)
		w.Advance(2 * time.Second)
		w.Wake()
		if !w.settles(t, n.ID(), 2).Delivered {
			t.Error("not delivered")
		}
		w.noSecrets(t)
	})
}

func TestAClientThatIsNotThereIsAFailureThatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		n := w.owe("rp", w.clock.Now())
		w.begin()
		if got := w.settles(t, n.ID(), 1); got.Dead || got.Why != "host not found: no such host" {
			t.Errorf("got %+v", got)
		}
		w.noSecrets(t)
	})
}
