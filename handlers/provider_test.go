package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/discovery"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

func serving(document string) *handlerstest.Source {
	return &handlerstest.Source{Respond: func(w http.ResponseWriter, r *http.Request) error {
		reply.Answering(document)(w, r)
		return nil
	}}
}

func TestFindLearnsTheOP(t *testing.T) {
	tests := []struct {
		name       string
		configured string
		document   string
		request    string
		want       string // issuer, with endpoints
		named      bool   // only the configured issuer is known
	}{
		{"issuer learnt at its host", "", handlerstest.Document(handlerstest.Issuer), handlerstest.Issuer, handlerstest.Issuer, false},
		{"issuer learnt where TLS ends in front", "", handlerstest.Document(handlerstest.Issuer), "http://op.example.com", handlerstest.Issuer, false},
		{"issuer with a port", "", handlerstest.Document("https://op.example.com:8443"), "https://op.example.com:8443", "https://op.example.com:8443", false},
		{"issuer with a port that the request did not come to", "", handlerstest.Document("https://op.example.com:9443"), "https://op.example.com:9443", "", false},
		{"issuer configured", handlerstest.Issuer, handlerstest.Document(handlerstest.Issuer), handlerstest.Issuer, handlerstest.Issuer, false},
		{"issuer configured, TLS ends in front", handlerstest.Issuer, handlerstest.Document(handlerstest.Issuer), "http://op.example.com", handlerstest.Issuer, false},
		{"issuer with a path configured", handlerstest.Issuer + "/realm", handlerstest.Document(handlerstest.Issuer + "/realm"), handlerstest.Issuer, handlerstest.Issuer + "/realm", false},
		{"document of another host", "", handlerstest.Document("https://evil.example"), handlerstest.Issuer, "", false},
		{"document of another port", "", handlerstest.Document("https://op.example.com:8443"), handlerstest.Issuer, "", false},
		{"document of no issuer", "", `{"issuer":"none"}`, handlerstest.Issuer, "", false},
		{"document without an issuer", "", `{}`, handlerstest.Issuer, "", false},
		{"document of another issuer than configured", handlerstest.Issuer, handlerstest.Document("https://evil.example"), handlerstest.Issuer, handlerstest.Issuer, true},
		{"document with white space behind it", handlerstest.Issuer, handlerstest.Document(handlerstest.Issuer) + " ", handlerstest.Issuer, handlerstest.Issuer, false},
		{"no document", handlerstest.Issuer, `nothing`, handlerstest.Issuer, handlerstest.Issuer, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := handlerstest.NewWorld(t).Provide(t, tt.configured)
			op := p.Find(handlerstest.Involved(tt.request), serving(tt.document))
			switch {
			case tt.want == "":
				if op != nil {
					t.Errorf("got %+v", op)
				}
			case op == nil || op.Issuer != tt.want:
				t.Errorf("got %+v", op)
			case tt.named != (op.AuthorizationPath == "") || tt.named != (op.TokenPath == "") || tt.named == op.PublicSubjects():
				t.Errorf("endpoints are %q, %q; public subjects: %v", op.AuthorizationPath, op.TokenPath, op.PublicSubjects())
			}
		})
	}
}

func TestAMismatchOfIssuersIsLoggedWithBoth(t *testing.T) {
	tests := []struct {
		name, configured, document string
		want                       []string
	}{
		{"configured", handlerstest.Issuer, handlerstest.Document("https://evil.example"), []string{"https://evil.example", handlerstest.Issuer}},
		{"configured with a slash", handlerstest.Issuer + "/", handlerstest.Document(handlerstest.Issuer), []string{`issuer "` + handlerstest.Issuer + `"`, handlerstest.Issuer + "/"}},
		{"learnt", "", handlerstest.Document("https://evil.example"), []string{"https://evil.example", "op.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			w.Provide(t, tt.configured).Find(handlerstest.Involved(handlerstest.Issuer), serving(tt.document))
			errs := w.Logs.FilterLevelExact(zapcore.ErrorLevel).FilterField(zap.String("url", handlerstest.DocumentURL)).All()
			if len(errs) != 1 {
				t.Fatalf("logged %s", w.Logged())
			}
			for _, want := range tt.want {
				if reason := fmt.Sprint(errs[0].ContextMap()["error"]); !strings.Contains(reason, want) {
					t.Errorf("%q is not in %q", want, reason)
				}
			}
		})
	}
}

func TestAForgedHostNamesNoIssuerAndMakesNoFetch(t *testing.T) {
	configured := handlerstest.NewWorld(t).Provide(t, handlerstest.Issuer)
	learnt := handlerstest.NewWorld(t).Provide(t, "")
	if learnt.Find(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document(handlerstest.Issuer))) == nil {
		t.Fatal("the issuer was not learnt")
	}
	for name, p := range map[string]*handlers.Provider{"issuer configured": configured, "issuer learnt": learnt} {
		for _, host := range []string{"evil.example", "op.example.com.evil.example", "op.example.com:8443", "", "127.0.0.1", "op.example.com@evil.example"} {
			t.Run(name+", host "+host, func(t *testing.T) {
				forged := serving(handlerstest.Document("https://" + host))
				r := handlerstest.Involved(handlerstest.Issuer)
				r.Host = host
				if op := p.Find(r, forged); op != nil || forged.Fetches.Load() != 0 {
					t.Errorf("got %+v after %d fetches", op, forged.Fetches.Load())
				}
			})
		}
	}
	for _, host := range []string{"", "no host", "op.example.com/x?", "user@op.example.com", "%zz"} {
		t.Run("nothing known, host "+host, func(t *testing.T) {
			op := serving(handlerstest.Document(handlerstest.Issuer))
			r := handlerstest.Involved(handlerstest.Issuer)
			r.Host = host
			if found := handlerstest.NewWorld(t).Provide(t, "").Find(r, op); found != nil {
				t.Errorf("got %+v", found)
			}
		})
	}
}

func TestSetupRefusesWhatIsNoIssuer(t *testing.T) {
	if err := (&handlers.Provider{Issuers: []string{"op.example.com"}}).Setup(handlerstest.NewWorld(t).Env); !errors.Is(err, handlers.ErrIssuer) {
		t.Errorf("got %v", err)
	}
}

func TestManyRequestsMakeOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := serving(handlerstest.Document(handlerstest.Issuer))
		answer := op.Respond
		op.Respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Second)
			return answer(w, r)
		}
		began := time.Now()
		var found atomic.Int32
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if p.Find(handlerstest.Involved(handlerstest.Issuer), op) != nil {
					found.Add(1)
				}
			})
		}
		all.Wait()
		if op.Fetches.Load() != 1 || found.Load() != 50 || time.Since(began) != time.Second {
			t.Errorf("%d fetches, %d of 50 requests were served after %v", op.Fetches.Load(), found.Load(), time.Since(began))
		}
	})
}

// hanging is an OP that answers nothing in time.
func hanging() *handlerstest.Source {
	return &handlerstest.Source{Respond: func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return context.Cause(r.Context())
	}}
}

func TestARequestWaitsTwoSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := hanging()
		began := time.Now()
		if found := p.Find(handlerstest.Involved(handlerstest.Issuer), op); found != nil || time.Since(began) != 2*time.Second {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // its client goes away before
		defer cancel()
		began = time.Now()
		if found := p.Find(handlerstest.Involved(handlerstest.Issuer).WithContext(ctx), op); found != nil || time.Since(began) != time.Second {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		if op.Fetches.Load() != 1 {
			t.Errorf("%d fetches", op.Fetches.Load())
		}
		time.Sleep(handlers.SubRequestTimeout) // the question ends before the bubble does
	})
}

func TestARequestThatCannotBeInvolvedDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, handlerstest.Issuer)
		op := hanging()
		began := time.Now()
		found := p.Find(httptest.NewRequest("GET", handlerstest.Issuer+"/style.css", nil), op)
		if found == nil || found.Issuer != handlerstest.Issuer || time.Since(began) != 0 {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		time.Sleep(handlers.SubRequestTimeout)
	})
}

// After a restart, a frame that is opened in another site's page asks without cookies, and would
// stay broken after a 404 of the OP.
func TestTheCheckPageWaitsForTheIssuerToBeLearnt(t *testing.T) {
	p := handlerstest.NewWorld(t).Provide(t, "")
	if op := p.Find(httptest.NewRequest("GET", handlerstest.CheckPage, nil), serving(handlerstest.Document(handlerstest.Issuer))); op == nil || op.Issuer != handlerstest.Issuer {
		t.Errorf("got %+v", op)
	}
}

func TestAnOPThatStillStartsIsAskedAgainByTheNextRequest(t *testing.T) {
	for name, op := range map[string]*handlerstest.Source{
		"502": handlerstest.Failing(502), "503": handlerstest.Failing(503), "504": handlerstest.Failing(504),
		"a proxy of the OP's own": {Respond: func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(503); return nil }},
		"refused":                 {Respond: func(http.ResponseWriter, *http.Request) error { return errors.New("connection refused") }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			p := w.Provide(t, "")
			for range 3 {
				p.Find(handlerstest.Involved(handlerstest.Issuer), op)
			}
			time.Sleep(handlers.AskPause - time.Nanosecond)
			p.Find(handlerstest.Involved(handlerstest.Issuer), op)
			if op.Fetches.Load() != 1 {
				t.Errorf("%s: %d fetches within a quarter of a second", name, op.Fetches.Load())
			}
			time.Sleep(time.Nanosecond)
			p.Find(handlerstest.Involved(handlerstest.Issuer), op)
			if op.Fetches.Load() != 2 {
				t.Errorf("%s: %d fetches after a quarter of a second", name, op.Fetches.Load())
			}
			if n := w.Logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
				t.Errorf("%s: the failure was logged %d times", name, n)
			}
			time.Sleep(handlers.AskPause)
			if p.Find(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document(handlerstest.Issuer))) == nil {
				t.Errorf("%s: the OP was not learnt once it answered", name)
			}
		})
	}
}

// Where a proxy needs seconds to find that the OP is away, no request waits again and again.
func TestAnOPThatIsSlowToFailIsAskedTheLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := handlerstest.Failing(502)
		fail := op.Respond
		op.Respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(3 * time.Second)
			return fail(w, r)
		}
		p.Find(handlerstest.Involved(handlerstest.Issuer), op)
		// a second for the rest of the question, three for the pause
		time.Sleep(4*time.Second - time.Nanosecond)
		if p.Find(handlerstest.Involved(handlerstest.Issuer), op); op.Fetches.Load() != 1 {
			t.Errorf("%d fetches", op.Fetches.Load())
		}
		time.Sleep(time.Nanosecond)
		if p.Find(handlerstest.Involved(handlerstest.Issuer), op); op.Fetches.Load() != 2 {
			t.Errorf("%d fetches", op.Fetches.Load())
		}
		time.Sleep(handlers.SubRequestTimeout)
	})
}

// What says nothing of the caller, but is no document of the OP, is asked for again in five
// seconds.
func TestAWrongDocumentIsRememberedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := serving(handlerstest.Document("https://evil.example"))
		for _, wait := range []time.Duration{0, handlers.AskAgainIn - time.Nanosecond} {
			time.Sleep(wait)
			if p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.9"), op); op.Fetches.Load() != 1 {
				t.Errorf("%d fetches after %v", op.Fetches.Load(), wait)
			}
		}
		time.Sleep(time.Nanosecond)
		if p.Find(handlerstest.Involved(handlerstest.Issuer), op); op.Fetches.Load() != 2 {
			t.Errorf("%d fetches", op.Fetches.Load())
		}
	})
}

// walled is an OP on a site that refuses a client, in one of the ways that sites have.
func walled(refused string, refuse caddyhttp.HandlerFunc) *handlerstest.Source {
	good := serving(handlerstest.Document(handlerstest.Issuer))
	return &handlerstest.Source{Respond: func(w http.ResponseWriter, r *http.Request) error {
		if strings.HasPrefix(r.RemoteAddr, refused+":") {
			return refuse(w, r)
		}
		return good.Respond(w, r)
	}}
}

// Threat: a caller whom the site refuses kept the OP from being learnt, for everybody.
func TestARefusalOfOneCallerIsNotRememberedForOthers(t *testing.T) {
	for name, refuse := range handlerstest.Refusals {
		synctest.Test(t, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			p := w.Provide(t, "")
			op := walled("192.0.2.66", refuse)
			for range 3 {
				if found := p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.66"), op); found != nil {
					t.Errorf("%s: got %+v", name, found)
				}
			}
			if op.Fetches.Load() != 1 {
				t.Errorf("%s: %d fetches for one caller", name, op.Fetches.Load())
			}
			time.Sleep(handlers.AskAgainIn)
			if p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.66"), op); op.Fetches.Load() != 2 {
				t.Errorf("%s: %d fetches for one caller after five seconds", name, op.Fetches.Load())
			}
			if p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.7"), op) == nil {
				t.Errorf("%s: another caller does not find the OP", name)
			}
			if w.Logs.FilterLevelExact(zapcore.ErrorLevel).Len() != 0 || w.Logs.FilterMessageSnippet("is refused").Len() != 1 {
				t.Errorf("%s: logged %s", name, w.Logged())
			}
		})
	}
}

// The same by its User-Agent: behind a proxy that is not trusted, all callers have one address.
func TestARefusalOfOneUserAgentIsNotRememberedForOthers(t *testing.T) {
	p := handlerstest.NewWorld(t).Provide(t, "")
	good := serving(handlerstest.Document(handlerstest.Issuer))
	op := &handlerstest.Source{Respond: func(w http.ResponseWriter, r *http.Request) error {
		if !strings.Contains(r.UserAgent(), "Mozilla") {
			return caddyhttp.Error(403, nil)
		}
		return good.Respond(w, r)
	}}
	p.Find(handlerstest.Involved(handlerstest.Issuer), op)
	r := handlerstest.Involved(handlerstest.Issuer)
	r.Header.Set("User-Agent", "Mozilla/5.0")
	if p.Find(r, op) == nil {
		t.Error("a browser does not find the OP")
	}
}

// A request that comes while the question of a refused caller is under way asks one of its own.
func TestARequestDoesNotFailByAnothersRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := walled("192.0.2.66", handlerstest.Refusals["403"])
		respond := op.Respond
		op.Respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(100 * time.Millisecond)
			return respond(w, r)
		}
		go p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.66"), op)
		synctest.Wait()
		began := time.Now()
		if p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.7"), op) == nil || time.Since(began) != 200*time.Millisecond {
			t.Errorf("the OP was not found after %v", time.Since(began))
		}
	})
}

// Nobody waits for a wall that refuses everybody longer than for three questions.
func TestAWallThatRefusesAllHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		op := &handlerstest.Source{Respond: func(http.ResponseWriter, *http.Request) error {
			time.Sleep(100 * time.Millisecond)
			return caddyhttp.Error(401, nil)
		}}
		began := time.Now()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), fmt.Sprint("192.0.2.", i)), op)
			})
		}
		all.Wait()
		if took := time.Since(began); took > handlers.AskTries*100*time.Millisecond || op.Fetches.Load() > handlers.AskTries {
			t.Errorf("200 requests took %v and %d questions", took, op.Fetches.Load())
		}
	})
}

func TestTheLogSaysWithWhichStatusTheOPWasRefusedAndWhatToDo(t *testing.T) {
	for status, level := range map[int]zapcore.Level{403: zapcore.WarnLevel, 401: zapcore.WarnLevel, 503: zapcore.ErrorLevel} {
		w := handlerstest.NewWorld(t)
		w.Provide(t, "").Find(handlerstest.Involved(handlerstest.Issuer), handlerstest.Failing(status))
		logged := w.Logs.FilterField(zap.Int("status", status)).FilterLevelExact(level).All()
		if len(logged) != 1 || !strings.Contains(fmt.Sprint(logged[0].ContextMap()["advice"]), "op_address") {
			t.Errorf("%d: logged %s", status, w.Logged())
		}
	}
}

// A wall before the trouble does not keep that from the log.
func TestTroubleIsLoggedWhenItGetsWorse(t *testing.T) {
	w := handlerstest.NewWorld(t)
	p := w.Provide(t, "")
	for i, op := range []*handlerstest.Source{handlerstest.Failing(403), handlerstest.Failing(403), handlerstest.Failing(503), handlerstest.Failing(403)} {
		p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), fmt.Sprint("192.0.2.", i)), op)
	}
	if warned, failed := w.Logs.FilterMessageSnippet("is refused").Len(), w.Logs.FilterMessageSnippet("unavailable: its sign-ins").Len(); warned != 1 || failed != 1 {
		t.Errorf("logged %s", w.Logged())
	}
}

func TestAnOldDocumentIsServedWhileItIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handlerstest.NewWorld(t).Provide(t, "")
		p.Find(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document(handlerstest.Issuer)))

		fresh := serving(strings.ReplaceAll(handlerstest.Document(handlerstest.Issuer), "/authorize", "/auth"))
		p.Refresh(handlerstest.Involved(handlerstest.Issuer), fresh)
		synctest.Wait()
		if fresh.Fetches.Load() != 0 {
			t.Error("a young document was asked for again")
		}
		time.Sleep(handlers.MetadataMaxAge)
		answer := fresh.Respond
		fresh.Respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Second)
			return answer(w, r)
		}
		began := time.Now()
		p.Refresh(handlerstest.Involved(handlerstest.Issuer), fresh)
		p.Refresh(handlerstest.Involved(handlerstest.Issuer), fresh)
		if op := p.Find(handlerstest.Involved(handlerstest.Issuer), fresh); op == nil || op.AuthorizationPath != "/authorize" || time.Since(began) != 0 {
			t.Errorf("while it is refreshed: %+v after %v", op, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if op := p.Find(handlerstest.Involved(handlerstest.Issuer), fresh); op == nil || op.AuthorizationPath != "/auth" || fresh.Fetches.Load() != 1 {
			t.Errorf("after it was refreshed: %+v, %d fetches", op, fresh.Fetches.Load())
		}
	})
}

func TestAFailedRefreshKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := handlerstest.NewWorld(t)
		p := w.Provide(t, "")
		p.Find(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document(handlerstest.Issuer)))
		time.Sleep(handlers.MetadataMaxAge)
		p.Refresh(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document("https://evil.example")))
		synctest.Wait()
		if op := p.Find(handlerstest.Involved(handlerstest.Issuer), serving("")); op == nil || op.AuthorizationPath != "/authorize" {
			t.Errorf("got %+v", op)
		}
		if w.Logs.FilterMessageSnippet("stays in use").Len() != 1 || w.Logs.FilterMessageSnippet("pass without").Len() != 0 {
			t.Errorf("logged %s", w.Logged())
		}
	})
}

func TestPlainHTTPIsWarnedOf(t *testing.T) {
	for issuer, want := range map[string]int{"http://op.example.com": 1, "https://op.example.com": 0, "http://op.localhost:8080": 0, "http://127.0.0.1": 0} {
		configured := handlerstest.NewWorld(t)
		configured.Provide(t, issuer)
		learnt := handlerstest.NewWorld(t)
		learnt.Provide(t, "").Find(handlerstest.Involved(issuer), serving(handlerstest.Document(issuer)))
		for name, w := range map[string]*handlerstest.World{"configured": configured, "learnt": learnt} {
			if got := w.Logs.FilterMessageSnippet("plain http").Len(); got != want {
				t.Errorf("%s %s: %d warnings", name, issuer, got)
			}
		}
	}
}

func TestMissingEndpointsAreWarnedOf(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.Provide(t, "").Find(handlerstest.Involved(handlerstest.Issuer), serving(strings.ReplaceAll(handlerstest.Document(handlerstest.Issuer), handlerstest.Issuer+"/", "https://login.example.com/")))
	warnings := w.Logs.FilterMessageSnippet("cannot be observed").All()
	if len(warnings) != 1 || fmt.Sprint(warnings[0].ContextMap()["endpoints"]) != "[authorization_endpoint token_endpoint]" {
		t.Errorf("logged %s", w.Logged())
	}
}

func TestAnUnknownOPIsAskedAsTheCallerWasForwarded(t *testing.T) {
	for _, configured := range []string{"", "http://op.example.com"} {
		p := handlerstest.NewWorld(t).Provide(t, configured)
		r := handlerstest.Involved("http://op.example.com")
		r.Header.Set("X-Forwarded-Proto", "https")
		var got string
		p.Find(r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			got = r.Header.Get("X-Forwarded-Proto")
			return nil
		}))
		if want := map[bool]string{true: "https", false: "http"}[configured == ""]; got != want {
			t.Errorf("issuer %q: the OP is asked as by %s, want %s", configured, got, want)
		}
	}
}

// passDocument has a client ask for a document, which the OP answers; our own questions it
// refuses.
func passDocument(t *testing.T, p *handlers.Provider, w *handlerstest.World, target, answer string) {
	t.Helper()
	r := handlerstest.Involved(handlerstest.Issuer)
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	refusing := serving("")
	refusing.Respond = func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(http.StatusForbidden, nil) }
	op := p.Find(r, refusing)
	if op == nil {
		op = p.Candidate(r)
	}
	if op == nil || r.URL.Path != op.DiscoveryPath {
		return
	}
	d := discovery.Discovery{Observe: p.Observe}
	d.Setup(w.Env)
	if err := d.Serve(op, httptest.NewRecorder(), r, reply.Handler(reply.Answering(answer)), func(*handlers.OP) []exchange.Member { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestADocumentThatPassesIsLearntFrom(t *testing.T) {
	elsewhere := strings.ReplaceAll(handlerstest.Document(handlerstest.Issuer), handlerstest.Issuer+"/", "https://login.example.com/")
	tests := []struct {
		name, configured, target, document string
		want                               bool
	}{
		{"issuer configured", handlerstest.Issuer, handlers.WellKnown, handlerstest.Document(handlerstest.Issuer), true},
		{"issuer not configured", "", handlers.WellKnown, handlerstest.Document(handlerstest.Issuer), true},
		{"issuer with a path", handlerstest.Issuer + "/realm", "/realm" + handlers.WellKnown, handlerstest.Document(handlerstest.Issuer + "/realm"), true},
		{"another path", handlerstest.Issuer + "/realm", "/other" + handlers.WellKnown, handlerstest.Document(handlerstest.Issuer + "/realm"), false},
		{"another path, nothing known", "", "/other" + handlers.WellKnown, handlerstest.Document(handlerstest.Issuer), false},
		{"another issuer than configured", handlerstest.Issuer, handlers.WellKnown, handlerstest.Document("https://evil.example"), false},
		{"another host's issuer", "", handlers.WellKnown, handlerstest.Document("https://evil.example"), false},
		{"what a query may have changed", handlerstest.Issuer, handlers.WellKnown + "?x=y", handlerstest.Document(handlerstest.Issuer), false},
		{"nothing that could be observed", handlerstest.Issuer, handlers.WellKnown, elsewhere, false},
		{"no document", handlerstest.Issuer, handlers.WellKnown, "[]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			p, discovered := w.Provide(t, tt.configured), 0
			p.Discovered = func(*handlers.OP) { discovered++ }
			passDocument(t, p, w, tt.target, tt.document)
			op := p.Find(handlerstest.Involved(handlerstest.Issuer), hanging())
			if got := op != nil && op.AuthorizationPath != ""; got != tt.want {
				t.Errorf("got %+v", op)
			}
			if (discovered == 1) != tt.want {
				t.Errorf("discovered %d times", discovered)
			}
		})
	}
}

func TestADocumentThatPassesIsNoNewsWhileTheOPAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := handlerstest.NewWorld(t)
		p := w.Provide(t, handlerstest.Issuer)
		p.Find(handlerstest.Involved(handlerstest.Issuer), serving(handlerstest.Document(handlerstest.Issuer)))
		changed := strings.ReplaceAll(handlerstest.Document(handlerstest.Issuer), "/authorize", "/prefix/authorize") // by the client's X-Forwarded-Prefix
		passDocument(t, p, w, handlers.WellKnown, changed)
		if op := p.Find(handlerstest.Involved(handlerstest.Issuer), hanging()); op.AuthorizationPath != "/authorize" {
			t.Errorf("a client has the OP learnt anew: %+v", op)
		}
		time.Sleep(handlers.MetadataMaxAge)
		p.Refresh(handlerstest.Involved(handlerstest.Issuer), serving("nothing"))
		synctest.Wait()
		passDocument(t, p, w, handlers.WellKnown, changed)
		if op := p.Find(handlerstest.Involved(handlerstest.Issuer), hanging()); op.AuthorizationPath != "/prefix/authorize" {
			t.Errorf("while the OP does not answer: %+v", op)
		}
	})
}

// An OP that writes its URLs by X-Forwarded-Prefix gives a client a document of an issuer that is
// not there. The next question, which has the last word, must still be asked where the OP is.
func TestAForgedPrefixNamesNoIssuer(t *testing.T) {
	w := handlerstest.NewWorld(t)
	p := w.Provide(t, "")
	passDocument(t, p, w, handlers.WellKnown, handlerstest.Document(handlerstest.Issuer+"/forged"))
	if op := p.Known().Load(); op != nil && op.Issuer != handlerstest.Issuer {
		t.Errorf("learnt issuer %s, which is asked at %s from now on", op.Issuer, p.Target(handlerstest.Involved(handlerstest.Issuer)).DiscoveryURL())
	}
	if op := p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.9"), serving(handlerstest.Document(handlerstest.Issuer))); op == nil || op.Issuer != handlerstest.Issuer {
		t.Errorf("got %+v", op)
	}
}
