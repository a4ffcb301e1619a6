package signin_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var formPost = url.Values{"response_mode": {"form_post"}}

func TestOnlyNavigationsAreRead(t *testing.T) {
	const html, any, encodings = "text/html,*/*;q=0.8", "*/*", "zstd, br, gzip"
	tests := []struct {
		name, dest, accept string
		want               string // Accept-Encoding at the OP
		wrapped            bool
	}{
		{"a page", "document", html, "gzip", true},
		{"a page in a frame", "iframe", html, "gzip", true},
		{"an image", "image", "image/*", encodings, false},
		{"a script", "script", any, encodings, false},
		{"data", "empty", any, encodings, false},
		{"data that may be HTML", "empty", html, encodings, false},
		{"a page, in an old engine", "", html, "gzip", true},
		{"what else, in an old engine", "", any, encodings, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
			a.Get(handlerstest.Ask("s", formPost), reply.Page)
			a.Dest = tt.dest
			r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/x", nil)
			r.Header.Set("Accept", tt.accept)
			r.Header.Set("Accept-Encoding", encodings)
			var got, cookies string
			var wrapped bool
			a.Send(r, func(w http.ResponseWriter, r *http.Request) {
				_, plain := w.(*httptest.ResponseRecorder)
				wrapped = !plain
				got, cookies = r.Header.Get("Accept-Encoding"), r.Header.Get("Cookie")
				handlerstest.RespondPage(handlerstest.Posted(handlerstest.Callback, field("code", "c")+field("state", "s")))(w, r)
			})
			if got != tt.want || wrapped != tt.wrapped {
				t.Errorf("asked for %q, wrapped: %v", got, wrapped)
			}
			if strings.Contains(cookies, "pending") || r.Header.Get("Accept-Encoding") != encodings {
				t.Errorf("the OP gets the cookies %q, and Accept-Encoding became %q", cookies, r.Header.Get("Accept-Encoding"))
			}
		})
	}
}

func TestASignOutByScriptIsSeenThoughASignInIsPending(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login = "login"
	a.SignIn("c")
	session := a.OpenS().Session
	a.Get(handlerstest.Authorize("t"), reply.Page)
	a.Cookies["login"], a.Dest = "x", "empty"
	a.Get("/logout", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "login=; Max-Age=0")
		w.WriteHeader(http.StatusNoContent)
	})
	if w.Live(t, session) {
		t.Error("the session lives")
	}
}

// flushed sends a page in parts, each of which is flushed, and returns what had gone out after
// each, and all in the end.
func flushed(t *testing.T, a *handlerstest.Agent, parts ...string) (sent []string, all string) {
	t.Helper()
	a.Get(handlerstest.Ask("s", formPost), reply.Page)
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/x", nil)
	r.Header.Set("Accept", "text/html")
	for name, value := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	err := a.B.Serve(a.W.OP, recorder, r, reply.Handler(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_ = http.NewResponseController(w).Flush() // the header, as reverse_proxy does
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			sent = append(sent, recorder.Body.String())
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return sent, recorder.Body.String()
}

func TestThreatAFlushReleasesThePage(t *testing.T) {
	login := "<!doctype html><p>hello<form method=post action=/login><input name=user>"
	for name, parts := range map[string][]string{
		"text":                      {"<!doctype html><p>one", "<p>two", "<p>three"},
		"a form of the OP's own":    {login, "<input name=password></form>"},
		"a form by GET":             {"<form action=" + handlerstest.Callback + ">", "<input name=code value=c></form>"},
		"a form that was complete":  {login + "</form>", "<p>more"},
		"what only looks like HTML": {"<form", " method=post>"},
	} {
		sent, all := flushed(t, handlerstest.NewAgent(t, handlerstest.NewWorld(t)), parts...)
		want := ""
		for i, part := range parts {
			if want += part; sent[i] != want {
				t.Errorf("%s: after %d parts, %q had gone out", name, i+1, sent[i])
			}
		}
		if all != want {
			t.Errorf("%s: the page became %q", name, all)
		}
	}
}

func TestAnAnswerThatIsFlushedInPartsIsReadWhole(t *testing.T) {
	whole := handlerstest.Posted(handlerstest.Callback, field("code", "c")+field("state", "s"))
	at := strings.Index(whole, `<input type="hidden" name="state"`)
	end := strings.Index(whole, "</form>") + len("</form>")
	for name, parts := range map[string][]string{
		"at once": {whole}, "in the middle of the form": {whole[:at], whole[at:]}, "behind the form": {whole[:end], whole[end:]},
	} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		sent, all := flushed(t, a, parts...)
		forms := exchange.ReadForms([]byte(all))
		if len(forms) != 1 || forms[0].Values.Get("session_state") == "" || forms[0].Values.Get("state") != "s" {
			t.Errorf("%s: the page became %s", name, all)
		}
		if strings.Contains(sent[0], "<form") && !strings.Contains(sent[0], "session_state") {
			t.Errorf("%s: the form went out without session_state", name)
		}
		if !strings.HasSuffix(all, whole[end:]) || strings.Count(all, "</form>") != 1 {
			t.Errorf("%s: the page became %s", name, all)
		}
	}
}

func TestAFormPostPageWithoutAContentTypeIsRead(t *testing.T) {
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	untyped := func(page string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }
	}
	answer := handlerstest.Posted(handlerstest.Callback, field("code", "c")+field("state", "s"))
	body := reply.ReadAll(t, a.Get(handlerstest.Ask("s", formPost), untyped(answer)).Body)
	if forms := exchange.ReadForms([]byte(body)); !sessionstate.Verify(forms[0].Values.Get("session_state"), handlerstest.ClientID, handlerstest.RpOrigin, a.CurrentState()) {
		t.Errorf("the page became %s", body)
	}
	for name, other := range map[string]string{
		"text":   "not a page: " + answer,
		"binary": "\x89PNG\r\n\x1a\n" + answer,
		"large":  "\x00" + strings.Repeat("x", 2*exchange.MaxPage),
		"empty":  "",
	} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		a.Get(handlerstest.Ask("s", formPost), handlerstest.RespondPage("<p>login"))
		response := a.Get("/x", untyped(other))
		if body := reply.ReadAll(t, response.Body); !bytes.Equal([]byte(body), []byte(other)) || response.Header.Get("Cache-Control") != "" {
			t.Errorf("%s: %d bytes became %d", name, len(other), len(body))
		}
	}
}

func TestResponseTypeNone(t *testing.T) {
	none := url.Values{"response_type": {"none"}}
	const own = "own.salt"
	tests := []struct {
		name, path, location string
		asked                url.Values
		want                 bool
	}{
		{"with state", "/login", handlerstest.Callback + "?state=s", none, true},
		{"with state and iss", "/login", handlerstest.Callback + "?state=s&iss=" + handlerstest.Issuer, none, true},
		{"in the fragment", "/login", handlerstest.Callback + "#state=s", none, true},
		{"another state", "/login", handlerstest.Callback + "?state=x", none, false},
		{"another target", "/login", "https://evil.example/cb?state=s", none, false},
		{"of another response type", "/login", handlerstest.Callback + "?state=s", nil, false},
		{"by a redirector", "/go?to=" + url.QueryEscape(handlerstest.Callback+"?state=s"), handlerstest.Callback + "?state=s", none, false},
		{"after a login page that was given the request", "/login?return=" + url.QueryEscape(handlerstest.Ask("s", none)), handlerstest.Callback + "?state=s", none, true},
		{"a sign-out at the OP", "/end?state=s&post_logout_redirect_uri=" + handlerstest.Callback, handlerstest.Callback + "?state=s", none, false},
		{"an error", "/login", handlerstest.Callback + "?state=s&error=access_denied", none, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{EndSessionEndpoint: handlerstest.Issuer + "/end"})
			a := handlerstest.NewAgent(t, w)
			a.Login = "login"
			a.Get(handlerstest.Ask("s", tt.asked), reply.Page)
			response := a.Get(tt.path, reply.Redirect(tt.location))
			sent := handlerstest.SessionState(t, response)
			if tt.want != (sent != "") {
				t.Fatalf("Location is %s", response.Header.Get("Location"))
			}
			if tt.want && !sessionstate.Verify(sent, handlerstest.ClientID, handlerstest.RpOrigin, a.CurrentState()) {
				t.Errorf("session_state %q does not fit", sent)
			}
			if signedIn := tt.want && !strings.Contains(tt.location, "error"); signedIn && !w.Live(t, a.OpenS().Session) {
				t.Error("there is no session")
			}
		})
	}
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	if got := handlerstest.SessionState(t, a.Get(handlerstest.Ask("s", none), reply.Redirect(handlerstest.Callback+"?state=s"))); got == "" {
		t.Error("an answer at once has no session_state")
	}
	for configured, want := range map[handlers.SessionState]bool{handlers.SessionStateKeep: true, handlers.SessionStateReplace: false} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		a.SessionState = configured
		got := handlerstest.SessionState(t, a.Get(handlerstest.Ask("s", none), reply.Redirect(handlerstest.Callback+"?state=s&session_state="+own)))
		if (got == own) != want || a.StateCookie() == "" {
			t.Errorf("%s: session_state is %q", configured, got)
		}
	}
}
