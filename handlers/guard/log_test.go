package guard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

func TestTheFirstRefusalOfASessionIsLogged(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set, "other=value-2; HttpOnly; Path=/")
	session := b.session.String()
	b.appGets("/", "session=value-1; other=value-2")
	s.end(b)
	for range 3 {
		b.copyOf("copy").appGets("/", "")
	}
	logged := s.logged("an app's session is refused")
	if len(logged) != 1 || logged[0]["session"] != session || logged[0]["host"] != host || logged[0]["cookie"] != "session" {
		t.Errorf("logged: %v", logged)
	}
	another := s.signedIn("alice", set)
	s.end(another)
	another.appGets("/", "")
	if logged = s.logged("an app's session is refused"); len(logged) != 2 {
		t.Errorf("logged: %v", logged)
	}
}

func TestARouteThatSetsCookiesPastTheGuardIsWarnedOfOnce(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	const message = "a session cookie comes back without certificate"
	for i := range 5 {
		b := s.browser("alice")
		b.has(fmt.Sprintf("session=bare-value-%d", i))
		b.appGets("/past/the/guard?x=secret-query", "")
		s.Clock.Advance(time.Second)
		logged, want := s.logged(message), min(i, 1)
		if len(logged) != want {
			t.Errorf("after %d: %v", i+1, logged)
		}
		for _, fields := range logged {
			if fields["path"] != "/past/the/guard" || fields["cookie"] != "session" || fields["host"] != host {
				t.Errorf("logged: %v", fields)
			}
		}
	}
	if strings.Contains(s.Logged(), "secret-query") {
		t.Error("the log has the query")
	}
}

func TestBareCookiesAreNotWarnedOfUnlessOneBrowserGetsThemAgain(t *testing.T) {
	tests := map[string]func(s *site, i int) *browser{
		"the same again": func(s *site, _ int) *browser { return s.browser("alice") },
		"other browsers": func(s *site, i int) *browser { return s.browser(fmt.Sprint("user ", i)) },
		"once a minute":  func(s *site, _ int) *browser { s.Clock.Advance(time.Minute); return s.browser("alice") },
		"ended sessions": func(s *site, _ int) *browser { b := s.signedIn("alice", set); s.end(b); return b },
		"other cookies":  func(s *site, _ int) *browser { return s.browser("alice") },
	}
	for name, present := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.signedIn("bob", set)
			for i := range 5 {
				b := present(s, i)
				switch name {
				case "the same again":
					b.has("session=bare-value")
				case "other cookies":
					b.has(fmt.Sprintf("theme=bare-value-%d", i))
				case "ended sessions":
				default:
					b.has(fmt.Sprintf("session=bare-value-%d", i))
				}
				b.get("/", sets())
			}
			if logged := s.logged("a session cookie comes back without certificate"); len(logged) != 0 {
				t.Errorf("logged: %v", logged)
			}
		})
	}
}

func TestNothingIsLoggedOfWhatGoesWell(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	for range 10 {
		b.appGets("/", "session=value-1")
		localUser(s).appGets("/", "session=value-1")
	}
	for _, entry := range s.Logs.All() {
		if entry.Level >= zapcore.InfoLevel {
			t.Errorf("logged: %s %v", entry.Message, entry.ContextMap())
		}
	}
}
