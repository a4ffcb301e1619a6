package handlers

import (
	"context"
	"errors"
	"fmt"
	"net"
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
)

// document is the discovery document of an OP.
func document(issuer string) string {
	return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","subject_types_supported":["public"]}`,
		strings.TrimSuffix(issuer, "/"))
}

// A source is an OP that counts how often its document was asked for.
type source struct {
	respond func(w http.ResponseWriter, r *http.Request) error
	fetches atomic.Int32
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	s.fetches.Add(1)
	return s.respond(w, r)
}

func serving(document string) *source {
	return &source{respond: func(w http.ResponseWriter, r *http.Request) error {
		answering(document)(w, r)
		return nil
	}}
}

// provide returns a provider in the world, whose clock is the bubble's inside synctest.
func (w *world) provide(t *testing.T, issuer string) *Provider {
	t.Helper()
	env := w.env
	env.Now = time.Now
	p := &Provider{}
	if issuer != "" {
		p.Issuers = []string{issuer}
	}
	if err := p.Setup(env); err != nil {
		t.Fatal(err)
	}
	return p
}

// involved is a request that may be part of a sign-in. It came to port 8443.
func involved(url string) *http.Request {
	r := httptest.NewRequest("GET", url+"/login?x=y", nil)
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}))
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
		{"issuer learnt at its host", "", document(issuer), issuer, issuer, false},
		{"issuer learnt where TLS ends in front", "", document(issuer), "http://op.example.com", issuer, false},
		{"issuer with a port", "", document("https://op.example.com:8443"), "https://op.example.com:8443", "https://op.example.com:8443", false},
		{"issuer with a port that the request did not come to", "", document("https://op.example.com:9443"), "https://op.example.com:9443", "", false},
		{"issuer configured", issuer, document(issuer), issuer, issuer, false},
		{"issuer configured, TLS ends in front", issuer, document(issuer), "http://op.example.com", issuer, false},
		{"issuer with a path configured", issuer + "/realm", document(issuer + "/realm"), issuer, issuer + "/realm", false},
		{"document of another host", "", document("https://evil.example"), issuer, "", false},
		{"document of another port", "", document("https://op.example.com:8443"), issuer, "", false},
		{"document of no issuer", "", `{"issuer":"none"}`, issuer, "", false},
		{"document without an issuer", "", `{}`, issuer, "", false},
		{"document of another issuer than configured", issuer, document("https://evil.example"), issuer, issuer, true},
		{"document with white space behind it", issuer, document(issuer) + " ", issuer, issuer, false},
		{"no document", issuer, `nothing`, issuer, issuer, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newWorld(t).provide(t, tt.configured)
			op := p.Find(involved(tt.request), serving(tt.document))
			switch {
			case tt.want == "":
				if op != nil {
					t.Errorf("got %+v", op)
				}
			case op == nil || op.Issuer != tt.want:
				t.Errorf("got %+v", op)
			case tt.named != (op.AuthorizationPath == "") || tt.named != (op.TokenPath == "") || tt.named == op.publicSubjects:
				t.Errorf("endpoints are %q, %q; public subjects: %v", op.AuthorizationPath, op.TokenPath, op.publicSubjects)
			}
		})
	}
}

func TestAMismatchOfIssuersIsLoggedWithBoth(t *testing.T) {
	tests := []struct {
		name, configured, document string
		want                       []string
	}{
		{"configured", issuer, document("https://evil.example"), []string{"https://evil.example", issuer}},
		{"configured with a slash", issuer + "/", document(issuer), []string{`issuer "` + issuer + `"`, issuer + "/"}},
		{"learnt", "", document("https://evil.example"), []string{"https://evil.example", "op.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.provide(t, tt.configured).Find(involved(issuer), serving(tt.document))
			errs := w.logs.FilterLevelExact(zapcore.ErrorLevel).FilterField(zap.String("url", documentURL)).All()
			if len(errs) != 1 {
				t.Fatalf("logged %s", w.logged())
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
	configured := newWorld(t).provide(t, issuer)
	learnt := newWorld(t).provide(t, "")
	if learnt.Find(involved(issuer), serving(document(issuer))) == nil {
		t.Fatal("the issuer was not learnt")
	}
	for name, p := range map[string]*Provider{"issuer configured": configured, "issuer learnt": learnt} {
		for _, host := range []string{"evil.example", "op.example.com.evil.example", "op.example.com:8443", "", "127.0.0.1", "op.example.com@evil.example"} {
			t.Run(name+", host "+host, func(t *testing.T) {
				forged := serving(document("https://" + host))
				r := involved(issuer)
				r.Host = host
				if op := p.Find(r, forged); op != nil || forged.fetches.Load() != 0 {
					t.Errorf("got %+v after %d fetches", op, forged.fetches.Load())
				}
			})
		}
	}
	for _, host := range []string{"", "no host", "op.example.com/x?", "user@op.example.com", "%zz"} {
		t.Run("nothing known, host "+host, func(t *testing.T) {
			op := serving(document(issuer))
			r := involved(issuer)
			r.Host = host
			if found := newWorld(t).provide(t, "").Find(r, op); found != nil {
				t.Errorf("got %+v", found)
			}
		})
	}
}

func TestSetupRefusesWhatIsNoIssuer(t *testing.T) {
	if err := (&Provider{Issuers: []string{"op.example.com"}}).Setup(newWorld(t).env); !errors.Is(err, ErrIssuer) {
		t.Errorf("got %v", err)
	}
}

func TestManyRequestsMakeOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := serving(document(issuer))
		answer := op.respond
		op.respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Second)
			return answer(w, r)
		}
		began := time.Now()
		var found atomic.Int32
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if p.Find(involved(issuer), op) != nil {
					found.Add(1)
				}
			})
		}
		all.Wait()
		if op.fetches.Load() != 1 || found.Load() != 50 || time.Since(began) != time.Second {
			t.Errorf("%d fetches, %d of 50 requests were served after %v", op.fetches.Load(), found.Load(), time.Since(began))
		}
	})
}

// hanging is an OP that answers nothing in time.
func hanging() *source {
	return &source{respond: func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return context.Cause(r.Context())
	}}
}

func TestARequestWaitsTwoSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := hanging()
		began := time.Now()
		if found := p.Find(involved(issuer), op); found != nil || time.Since(began) != 2*time.Second {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // its client goes away before
		defer cancel()
		began = time.Now()
		if found := p.Find(involved(issuer).WithContext(ctx), op); found != nil || time.Since(began) != time.Second {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		if op.fetches.Load() != 1 {
			t.Errorf("%d fetches", op.fetches.Load())
		}
		time.Sleep(subRequestTimeout) // the question ends before the bubble does
	})
}

func TestARequestThatCannotBeInvolvedDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, issuer)
		op := hanging()
		began := time.Now()
		found := p.Find(httptest.NewRequest("GET", issuer+"/style.css", nil), op)
		if found == nil || found.Issuer != issuer || time.Since(began) != 0 {
			t.Errorf("got %+v after %v", found, time.Since(began))
		}
		time.Sleep(subRequestTimeout)
	})
}

func TestMayBeInvolved(t *testing.T) {
	cookie := httptest.NewRequest("GET", "/", nil)
	cookie.AddCookie(&http.Cookie{Name: "a", Value: "b"})
	tests := []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"page", httptest.NewRequest("GET", "/login", nil), false},
		{"page with a query", httptest.NewRequest("GET", "/login?a", nil), true},
		{"page with a cookie", cookie, true},
		{"form", httptest.NewRequest("POST", "/login", nil), true},
		{"document", httptest.NewRequest("GET", wellKnown, nil), true},
		{"document of an issuer with a path", httptest.NewRequest("GET", "/realm"+wellKnown, nil), true},
		{"check page", httptest.NewRequest("GET", DefaultCheckSessionPath, nil), true},
		{"path below the check page", httptest.NewRequest("GET", DefaultCheckSessionPath+"/x", nil), false},
	}
	p := new(Provider)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.mayBeInvolved(tt.r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// After a restart, a frame that is opened in another site's page asks without cookies, and would stay broken after a 404 of the OP.
func TestTheCheckPageWaitsForTheIssuerToBeLearnt(t *testing.T) {
	p := newWorld(t).provide(t, "")
	if op := p.Find(httptest.NewRequest("GET", checkPage, nil), serving(document(issuer))); op == nil || op.Issuer != issuer {
		t.Errorf("got %+v", op)
	}
}

// failing is an OP of which the site behind gives an error.
func failing(status int) *source {
	return &source{respond: func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(status, errors.New("failed")) }}
}

// from gives a request another client.
func from(r *http.Request, address string) *http.Request {
	r.RemoteAddr = address + ":4711"
	return r
}

func TestAnOPThatStillStartsIsAskedAgainByTheNextRequest(t *testing.T) {
	for name, op := range map[string]*source{
		"502": failing(502), "503": failing(503), "504": failing(504),
		"a proxy of the OP's own": {respond: func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(503); return nil }},
		"refused":                 {respond: func(http.ResponseWriter, *http.Request) error { return errors.New("connection refused") }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := w.provide(t, "")
			for range 3 {
				p.Find(involved(issuer), op)
			}
			time.Sleep(askPause - time.Nanosecond)
			p.Find(involved(issuer), op)
			if op.fetches.Load() != 1 {
				t.Errorf("%s: %d fetches within a quarter of a second", name, op.fetches.Load())
			}
			time.Sleep(time.Nanosecond)
			p.Find(involved(issuer), op)
			if op.fetches.Load() != 2 {
				t.Errorf("%s: %d fetches after a quarter of a second", name, op.fetches.Load())
			}
			if n := w.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
				t.Errorf("%s: the failure was logged %d times", name, n)
			}
			time.Sleep(askPause)
			if p.Find(involved(issuer), serving(document(issuer))) == nil {
				t.Errorf("%s: the OP was not learnt once it answered", name)
			}
		})
	}
}

// Where a proxy needs seconds to find that the OP is away, no request waits again and again.
func TestAnOPThatIsSlowToFailIsAskedTheLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := failing(502)
		fail := op.respond
		op.respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(3 * time.Second)
			return fail(w, r)
		}
		p.Find(involved(issuer), op)
		time.Sleep(4*time.Second - time.Nanosecond) // a second for the rest of the question, three for the pause
		if p.Find(involved(issuer), op); op.fetches.Load() != 1 {
			t.Errorf("%d fetches", op.fetches.Load())
		}
		time.Sleep(time.Nanosecond)
		if p.Find(involved(issuer), op); op.fetches.Load() != 2 {
			t.Errorf("%d fetches", op.fetches.Load())
		}
		time.Sleep(subRequestTimeout)
	})
}

// What says nothing of the caller, but is no document of the OP, is asked for again in five
// seconds.
func TestAWrongDocumentIsRememberedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := serving(document("https://evil.example"))
		for _, wait := range []time.Duration{0, askAgainIn - time.Nanosecond} {
			time.Sleep(wait)
			if p.Find(from(involved(issuer), "192.0.2.9"), op); op.fetches.Load() != 1 {
				t.Errorf("%d fetches after %v", op.fetches.Load(), wait)
			}
		}
		time.Sleep(time.Nanosecond)
		if p.Find(involved(issuer), op); op.fetches.Load() != 2 {
			t.Errorf("%d fetches", op.fetches.Load())
		}
	})
}

// walled is an OP on a site that refuses a client, in one of the ways that sites have.
func walled(refused string, refuse caddyhttp.HandlerFunc) *source {
	good := serving(document(issuer))
	return &source{respond: func(w http.ResponseWriter, r *http.Request) error {
		if strings.HasPrefix(r.RemoteAddr, refused+":") {
			return refuse(w, r)
		}
		return good.respond(w, r)
	}}
}

var refusals = map[string]caddyhttp.HandlerFunc{
	"401 by an error": func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(401, errors.New("not authenticated"))
	},
	"403": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(403); return nil },
	"404": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(404); return nil },
	"429": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(429); return nil },
	"a login redirect": func(w http.ResponseWriter, r *http.Request) error {
		redirect("https://gate.example/")(w, r)
		return nil
	},
	"a page":   func(w http.ResponseWriter, r *http.Request) error { page(w, r); return nil },
	"nothing":  func(http.ResponseWriter, *http.Request) error { return nil },
	"an abort": func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
}

// Threat: a caller whom the site refuses kept the OP from being learnt, for everybody.
func TestARefusalOfOneCallerIsNotRememberedForOthers(t *testing.T) {
	for name, refuse := range refusals {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := w.provide(t, "")
			op := walled("192.0.2.66", refuse)
			for range 3 {
				if found := p.Find(from(involved(issuer), "192.0.2.66"), op); found != nil {
					t.Errorf("%s: got %+v", name, found)
				}
			}
			if op.fetches.Load() != 1 {
				t.Errorf("%s: %d fetches for one caller", name, op.fetches.Load())
			}
			time.Sleep(askAgainIn)
			if p.Find(from(involved(issuer), "192.0.2.66"), op); op.fetches.Load() != 2 {
				t.Errorf("%s: %d fetches for one caller after five seconds", name, op.fetches.Load())
			}
			if p.Find(from(involved(issuer), "192.0.2.7"), op) == nil {
				t.Errorf("%s: another caller does not find the OP", name)
			}
			if w.logs.FilterLevelExact(zapcore.ErrorLevel).Len() != 0 || w.logs.FilterMessageSnippet("is refused").Len() != 1 {
				t.Errorf("%s: logged %s", name, w.logged())
			}
		})
	}
}

// The same by its User-Agent: behind a proxy that is not trusted, all callers have one address.
func TestARefusalOfOneUserAgentIsNotRememberedForOthers(t *testing.T) {
	p := newWorld(t).provide(t, "")
	good := serving(document(issuer))
	op := &source{respond: func(w http.ResponseWriter, r *http.Request) error {
		if !strings.Contains(r.UserAgent(), "Mozilla") {
			return caddyhttp.Error(403, nil)
		}
		return good.respond(w, r)
	}}
	p.Find(involved(issuer), op)
	r := involved(issuer)
	r.Header.Set("User-Agent", "Mozilla/5.0")
	if p.Find(r, op) == nil {
		t.Error("a browser does not find the OP")
	}
}

// A request that comes while the question of a refused caller is under way asks one of its own.
func TestARequestDoesNotFailByAnothersRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := walled("192.0.2.66", refusals["403"])
		respond := op.respond
		op.respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(100 * time.Millisecond)
			return respond(w, r)
		}
		go p.Find(from(involved(issuer), "192.0.2.66"), op)
		synctest.Wait()
		began := time.Now()
		if p.Find(from(involved(issuer), "192.0.2.7"), op) == nil || time.Since(began) != 200*time.Millisecond {
			t.Errorf("the OP was not found after %v", time.Since(began))
		}
	})
}

// Nobody waits for a wall that refuses everybody longer than for three questions.
func TestAWallThatRefusesAllHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		op := &source{respond: func(http.ResponseWriter, *http.Request) error {
			time.Sleep(100 * time.Millisecond)
			return caddyhttp.Error(401, nil)
		}}
		began := time.Now()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { p.Find(from(involved(issuer), fmt.Sprint("192.0.2.", i)), op) })
		}
		all.Wait()
		if took := time.Since(began); took > askTries*100*time.Millisecond || op.fetches.Load() > askTries {
			t.Errorf("200 requests took %v and %d questions", took, op.fetches.Load())
		}
	})
}

func TestTheCallersThatAreRememberedAreBounded(t *testing.T) {
	var a asking
	now := time.Now()
	for i := range 3 * maxRefused {
		a.failed(now, caller{byte(i), byte(i >> 8)}, &answerError{err: errors.New("refused"), refused: true})
		if len(a.refused) > maxRefused {
			t.Fatalf("%d are remembered", len(a.refused))
		}
	}
}

func TestTheLogSaysWithWhichStatusTheOPWasRefusedAndWhatToDo(t *testing.T) {
	for status, level := range map[int]zapcore.Level{403: zapcore.WarnLevel, 401: zapcore.WarnLevel, 503: zapcore.ErrorLevel} {
		w := newWorld(t)
		w.provide(t, "").Find(involved(issuer), failing(status))
		logged := w.logs.FilterField(zap.Int("status", status)).FilterLevelExact(level).All()
		if len(logged) != 1 || !strings.Contains(fmt.Sprint(logged[0].ContextMap()["advice"]), "op_address") {
			t.Errorf("%d: logged %s", status, w.logged())
		}
	}
}

// A wall before the trouble does not keep that from the log.
func TestTroubleIsLoggedWhenItGetsWorse(t *testing.T) {
	w := newWorld(t)
	p := w.provide(t, "")
	for i, op := range []*source{failing(403), failing(403), failing(503), failing(403)} {
		p.Find(from(involved(issuer), fmt.Sprint("192.0.2.", i)), op)
	}
	if warned, failed := w.logs.FilterMessageSnippet("is refused").Len(), w.logs.FilterMessageSnippet("unavailable: its sign-ins").Len(); warned != 1 || failed != 1 {
		t.Errorf("logged %s", w.logged())
	}
}

func TestAnOldDocumentIsServedWhileItIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorld(t).provide(t, "")
		p.Find(involved(issuer), serving(document(issuer)))

		fresh := serving(strings.ReplaceAll(document(issuer), "/authorize", "/auth"))
		p.Refresh(involved(issuer), fresh)
		synctest.Wait()
		if fresh.fetches.Load() != 0 {
			t.Error("a young document was asked for again")
		}
		time.Sleep(metadataMaxAge)
		answer := fresh.respond
		fresh.respond = func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Second)
			return answer(w, r)
		}
		began := time.Now()
		p.Refresh(involved(issuer), fresh)
		p.Refresh(involved(issuer), fresh)
		if op := p.Find(involved(issuer), fresh); op == nil || op.AuthorizationPath != "/authorize" || time.Since(began) != 0 {
			t.Errorf("while it is refreshed: %+v after %v", op, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if op := p.Find(involved(issuer), fresh); op == nil || op.AuthorizationPath != "/auth" || fresh.fetches.Load() != 1 {
			t.Errorf("after it was refreshed: %+v, %d fetches", op, fresh.fetches.Load())
		}
	})
}

func TestAFailedRefreshKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.provide(t, "")
		p.Find(involved(issuer), serving(document(issuer)))
		time.Sleep(metadataMaxAge)
		p.Refresh(involved(issuer), serving(document("https://evil.example")))
		synctest.Wait()
		if op := p.Find(involved(issuer), serving("")); op == nil || op.AuthorizationPath != "/authorize" {
			t.Errorf("got %+v", op)
		}
		if w.logs.FilterMessageSnippet("stays in use").Len() != 1 || w.logs.FilterMessageSnippet("pass without").Len() != 0 {
			t.Errorf("logged %s", w.logged())
		}
	})
}

func TestPlainHTTPIsWarnedOf(t *testing.T) {
	for issuer, want := range map[string]int{"http://op.example.com": 1, "https://op.example.com": 0, "http://op.localhost:8080": 0, "http://127.0.0.1": 0} {
		configured := newWorld(t)
		configured.provide(t, issuer)
		learnt := newWorld(t)
		learnt.provide(t, "").Find(involved(issuer), serving(document(issuer)))
		for name, w := range map[string]*world{"configured": configured, "learnt": learnt} {
			if got := w.logs.FilterMessageSnippet("plain http").Len(); got != want {
				t.Errorf("%s %s: %d warnings", name, issuer, got)
			}
		}
	}
}

func TestMissingEndpointsAreWarnedOf(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "").Find(involved(issuer), serving(strings.ReplaceAll(document(issuer), issuer+"/", "https://login.example.com/")))
	warnings := w.logs.FilterMessageSnippet("cannot be observed").All()
	if len(warnings) != 1 || fmt.Sprint(warnings[0].ContextMap()["endpoints"]) != "[authorization_endpoint token_endpoint]" {
		t.Errorf("logged %s", w.logged())
	}
}

func TestAnUnknownOPIsAskedAsTheCallerWasForwarded(t *testing.T) {
	for _, configured := range []string{"", "http://op.example.com"} {
		p := newWorld(t).provide(t, configured)
		r := involved("http://op.example.com")
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

// passDocument has a client ask for a document, which the OP answers; our own questions it refuses.
func passDocument(t *testing.T, p *Provider, w *world, target, answer string) {
	t.Helper()
	r := involved(issuer)
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	refusing := serving("")
	refusing.respond = func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(http.StatusForbidden, nil) }
	op := p.Find(r, refusing)
	if op == nil {
		op = p.Candidate(r)
	}
	if op == nil || r.URL.Path != op.DiscoveryPath {
		return
	}
	d := Discovery{Learn: p.Learn}
	d.Setup(w.env)
	if err := d.Serve(op, httptest.NewRecorder(), r, handler(answering(answer)), func(*OP) []Member { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestADocumentThatPassesIsLearntFrom(t *testing.T) {
	elsewhere := strings.ReplaceAll(document(issuer), issuer+"/", "https://login.example.com/")
	tests := []struct {
		name, configured, target, document string
		want                               bool
	}{
		{"issuer configured", issuer, wellKnown, document(issuer), true},
		{"issuer not configured", "", wellKnown, document(issuer), true},
		{"issuer with a path", issuer + "/realm", "/realm" + wellKnown, document(issuer + "/realm"), true},
		{"another path", issuer + "/realm", "/other" + wellKnown, document(issuer + "/realm"), false},
		{"another path, nothing known", "", "/other" + wellKnown, document(issuer), false},
		{"another issuer than configured", issuer, wellKnown, document("https://evil.example"), false},
		{"another host's issuer", "", wellKnown, document("https://evil.example"), false},
		{"what a query may have changed", issuer, wellKnown + "?x=y", document(issuer), false},
		{"nothing that could be observed", issuer, wellKnown, elsewhere, false},
		{"no document", issuer, wellKnown, "[]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p, discovered := w.provide(t, tt.configured), 0
			p.Discovered = func(*OP) { discovered++ }
			passDocument(t, p, w, tt.target, tt.document)
			op := p.Find(involved(issuer), hanging())
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
		w := newWorld(t)
		p := w.provide(t, issuer)
		p.Find(involved(issuer), serving(document(issuer)))
		changed := strings.ReplaceAll(document(issuer), "/authorize", "/prefix/authorize") // by the client's X-Forwarded-Prefix
		passDocument(t, p, w, wellKnown, changed)
		if op := p.Find(involved(issuer), hanging()); op.AuthorizationPath != "/authorize" {
			t.Errorf("a client has the OP learnt anew: %+v", op)
		}
		time.Sleep(metadataMaxAge)
		p.Refresh(involved(issuer), serving("nothing"))
		synctest.Wait()
		passDocument(t, p, w, wellKnown, changed)
		if op := p.Find(involved(issuer), hanging()); op.AuthorizationPath != "/prefix/authorize" {
			t.Errorf("while the OP does not answer: %+v", op)
		}
	})
}
