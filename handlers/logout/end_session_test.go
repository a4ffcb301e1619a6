package logout_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// oddState is a state of 64 characters that every layer would like to change.
const oddState = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ %41%2f+&amp;=;äöü` + "\xff\t`'\"%%20;?#"

func TestSigningOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ask    func(x *handlerstest.Exit) url.Values
		want   string
		signed bool // in, afterwards
	}{
		{"with a hint, a registered address and a state of oddState", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", oddState)
		}, "to " + handlerstest.Bye + "?state=" + url.QueryEscape(oddState), false},
		{"with a hint and an address with a query", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.ByeQuery, "state", "1")
		}, "to " + handlerstest.ByeQuery + "&state=1", false},
		{"without a state nothing is added", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)
		}, "to " + handlerstest.Bye, false},
		{"with a hint alone", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))
		}, "signed out", false},
		{"with everything", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "client_id", handlerstest.ClientID,
				"logout_hint", "alice@example.com", "ui_locales", "xx tlh en", "state", "1", "more", "1", "more", "2")
		}, "to " + handlerstest.Bye + "?state=1", false},
		{"of the other client of the session", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint("wiki", "alice"), "post_logout_redirect_uri", "https://wiki.example.com/")
		}, "to https://wiki.example.com/", false},
		{"without parameters", func(*handlerstest.Exit) url.Values { return nil }, "question", true},
		{"with a state alone", func(*handlerstest.Exit) url.Values { return handlerstest.Values("state", "1") }, "question", true},
		{"with an address alone", func(*handlerstest.Exit) url.Values {
			return handlerstest.Values("post_logout_redirect_uri", handlerstest.Bye)
		}, "question", true},
		{"with a client but no hint", func(*handlerstest.Exit) url.Values {
			return handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye)
		}, "question", true},
		{"with another address than the registered ones", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", "https://rp.example.com/other")
		}, "error", true},
		{"with a query added to the address", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye+"?x=1")
		}, "error", true},
		{"with the address of another client", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", "https://wiki.example.com/")
		}, "error", true},
		{"of a client that is not configured, with an address", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint("nobody", "alice"), "post_logout_redirect_uri", handlerstest.Bye)
		}, "error", true},
		{"with the client of another hint", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "client_id", "wiki")
		}, "error", true},
		{"with a parameter twice", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "state", "1", "state", "2")
		}, "error", true},
		{"with a hint for a client that has no part in the session", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint("mail", "alice"))
		}, "question", true},
		{"with a state that is too long", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "state", strings.Repeat("x", handlers.MaxState+1))
		}, "error", true},
		{"with a hint that a script had none for", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", "undefined", "client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye)
		}, "question", true},
		{"with a hint of null", func(x *handlerstest.Exit) url.Values { return handlerstest.Values("id_token_hint", "null") }, "question", true},
		{"with a hint of many groups", func(x *handlerstest.Exit) url.Values {
			c := handlerstest.IDClaims(handlerstest.ClientID, "alice")
			c["groups"] = strings.Repeat("g", 18<<10)
			return handlerstest.Values("id_token_hint", handlerstest.Sign(x.T, x.Key, c, nil), "post_logout_redirect_uri", handlerstest.Bye)
		}, "to " + handlerstest.Bye, false},
		{"with the longest state", func(x *handlerstest.Exit) url.Values {
			return handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", strings.Repeat("\x00", handlers.MaxState))
		}, "to " + handlerstest.Bye + "?state=" + strings.Repeat("%00", handlers.MaxState), false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, "POST from another site"} {
			t.Run(tt.name+", "+method, func(t *testing.T) {
				x := handlerstest.NewExit(t)
				x.SignedIn(handlerstest.ClientID, "alice")
				x.SignedIn("wiki", "alice")
				parameters := tt.ask(x)
				var got *http.Response
				switch method {
				case http.MethodGet:
					got = x.Ask(parameters)
				case http.MethodPost:
					got = x.PostForm(handlerstest.EndSession, handlerstest.Issuer, parameters)
				default:
					got = x.PostForm(handlerstest.EndSession, handlerstest.RpOrigin, parameters)
				}
				if outcome := handlerstest.Outcome(t, got); outcome != tt.want {
					t.Errorf("got %s, want %s", outcome, tt.want)
				}
				x.MustBe(tt.signed)
				if wanted := !tt.signed; x.Logouts.Load() == 1 != wanted {
					t.Errorf("the OP was asked %d times", x.Logouts.Load())
				}
			})
		}
	}
}

func TestTheUserIsAskedAndAnswers(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	question := x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye, "state", "a b"))
	body := reply.ReadAll(t, question.Body)
	if !strings.Contains(body, "The Shop") || !strings.Contains(body, "op.example.com") {
		t.Errorf("the question does not say who asks: %s", body)
	}
	question = x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye, "state", "a b"))
	if got := handlerstest.Outcome(t, x.Answer(question, logout.AnswerStay)); got != "stayed" {
		t.Errorf("after no: %s", got)
	}
	x.MustBe(true)
	question = x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye, "state", "a b"))
	if got := handlerstest.Outcome(t, x.Answer(question, logout.AnswerSignOut)); got != "to "+handlerstest.Bye+"?state=a+b" {
		t.Errorf("after yes: %s", got)
	}
	x.MustBe(false)
	if c := x.OpenS(); c.Browser.IsZero() {
		t.Error("the browser lost its ID")
	}
	if session := x.W.Logged(); strings.Contains(session, `"reason":"login_cookie"`) || !strings.Contains(session, `"reason":"logout"`) {
		t.Errorf("the log does not say why the session ended: %s", session)
	}
}

func TestConfirmAlwaysAsksEverybodyWhoIsSignedIn(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Confirm = logout.ConfirmAlways })
	x.SignedIn(handlerstest.ClientID, "alice")
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))); got != "question" {
		t.Errorf("got %s", got)
	}
	x.MustBe(true)
}

func TestNotSignedInIsNoError(t *testing.T) {
	x := handlerstest.NewExit(t)
	for name, tt := range map[string]struct {
		ask  url.Values
		want string
	}{
		"a hint and an address":   {handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", "1"), "to " + handlerstest.Bye + "?state=1"},
		"a client and an address": {handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye), "to " + handlerstest.Bye},
		"an address alone":        {handlerstest.Values("post_logout_redirect_uri", handlerstest.Bye), "signed out"},
		"nothing":                 {nil, "signed out"},
	} {
		if got := handlerstest.Outcome(t, x.Ask(tt.ask)); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	if x.Logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

func TestSigningOutTwiceIsNoError(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)
	for range 2 {
		if got := handlerstest.Outcome(t, x.Ask(request)); got != "to "+handlerstest.Bye {
			t.Errorf("got %s", got)
		}
	}
	if x.Logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
}

func TestWhoIsNotKnownForCertainIsAsked(t *testing.T) {
	for name, prepare := range map[string]func(x *handlerstest.Exit){
		"the OP's cookie without one of ours":   func(x *handlerstest.Exit) { x.Cookies = map[string]string{"login": "alice"} },
		"our cookie without the OP's":           func(x *handlerstest.Exit) { delete(x.Cookies, "login") },
		"our cookie is not sealed by us":        func(x *handlerstest.Exit) { x.Cookies[x.W.OP.Cookies.Session] = "forged" },
		"the registry is away":                  func(x *handlerstest.Exit) { x.W.Down(); x.SetUp() },
		"the session has ended, the OP's lives": func(x *handlerstest.Exit) { x.EndElsewhere() },
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			x.SetsLogin()
			request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)
			prepare(x)
			want := "question"
			if name == "our cookie without the OP's" {
				want = "to " + handlerstest.Bye // the hint fits our own session
			}
			got := x.Ask(request)
			if outcome := handlerstest.Outcome(t, got); outcome != want {
				t.Fatalf("got %s, want %s", outcome, want)
			}
			if want != "question" {
				return
			}
			want = "to " + handlerstest.Bye
			if name == "the registry is away" {
				want = "signed out" // and apps that are not could not be told
			}
			if got := handlerstest.Outcome(t, x.Answer(x.Ask(request), logout.AnswerSignOut)); got != want {
				t.Errorf("after yes: %s", got)
			}
			if _, atOP := x.IsSignedIn(); atOP {
				t.Error("still signed in at the OP")
			}
		})
	}
}

func TestOnlyNavigationsOfAWholeTabAreActedUpon(t *testing.T) {
	for name, header := range map[string][2]string{
		"a frame":    {"Sec-Fetch-Dest", "iframe"},
		"an image":   {"Sec-Fetch-Dest", "image"},
		"a script's": {"Sec-Fetch-Dest", "empty"},
		"a fetch":    {"Sec-Fetch-Mode", "no-cors"},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode(), nil)
			r.Header.Set(header[0], header[1])
			if got := x.Once(r); got.StatusCode != http.StatusOK || handlerstest.Outcome(t, got) != "nothing" {
				t.Errorf("got %s", got.Status)
			}
			x.MustBe(true)
		})
	}
}

func TestOtherMethodsAndEarlyDataDoNothing(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	target := handlerstest.Issuer + handlerstest.EndSession + "?id_token_hint=" + x.Hint(handlerstest.ClientID, "alice")
	early := httptest.NewRequest(http.MethodGet, target, nil)
	early.Header.Set("Early-Data", "1")
	for _, tt := range []struct {
		request *http.Request
		want    int
	}{
		{httptest.NewRequest(http.MethodHead, target, nil), http.StatusOK},
		{httptest.NewRequest(http.MethodPut, target, nil), http.StatusMethodNotAllowed},
		{httptest.NewRequest(http.MethodDelete, target, nil), http.StatusMethodNotAllowed},
		{early, http.StatusTooEarly},
	} {
		if got := x.Once(tt.request); got.StatusCode != tt.want {
			t.Errorf("%s: got %s", tt.request.Method, got.Status)
		}
	}
	x.MustBe(true)
}

func TestALargeRequestIsRefused(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	for name, got := range map[string]*http.Response{
		"form":  x.PostForm(handlerstest.EndSession, handlerstest.Issuer, handlerstest.Values("state", strings.Repeat("x", exchange.MaxForm))),
		"query": x.Ask(handlerstest.Values("state", strings.Repeat("x", exchange.MaxForm))),
		"hint":  x.Ask(handlerstest.Values("id_token_hint", strings.Repeat("x", 17<<10))),
	} {
		if got.StatusCode != http.StatusBadRequest || handlerstest.Confirmation(t, got) == "" {
			t.Errorf("%s: got %s, or no offer to sign out", name, got.Status)
		}
	}
	x.MustBe(true)
}

func TestAnInvalidRequestOffersToSignOutButNotToGoAnywhere(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	page := x.Ask(handlerstest.Values("id_token_hint", "x", "post_logout_redirect_uri", handlerstest.Bye, "state", "secret-state"))
	body := reply.ReadAll(t, page.Body)
	if page.StatusCode != http.StatusBadRequest || !strings.Contains(body, "id_token_hint") || strings.Contains(body, "secret-state") {
		t.Errorf("got %s %s", page.Status, body)
	}
	if got := handlerstest.Outcome(t, x.Answer(x.Ask(handlerstest.Values("id_token_hint", "x", "post_logout_redirect_uri", handlerstest.Bye)), logout.AnswerSignOut)); got != "signed out" {
		t.Errorf("after the offer: %s", got)
	}
	x.MustBe(false)
	if got := x.Ask(handlerstest.Values("id_token_hint", "x")); got.StatusCode != http.StatusBadRequest || handlerstest.Confirmation(t, got) != "" {
		t.Errorf("not signed in: got %s, or an offer", got.Status)
	}
}

func TestPagesKeepToThemselves(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	for name, page := range map[string]*http.Response{"question": x.Ask(nil), "error": x.Ask(handlerstest.Values("id_token_hint", "x"))} {
		for field, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := page.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
		policy := page.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "form-action") {
			t.Errorf("%s: the policy is %q", name, policy)
		}
	}
}

func TestTheOPsOwnEndpointIsLeftInPlace(t *testing.T) {
	x := handlerstest.NewExit(t)
	op := handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{EndSessionEndpoint: handlerstest.Issuer + "/logout"})
	if x.E.Serves(op, handlerstest.EndSession) {
		t.Error("ours is served beside it")
	}
	if !x.E.Serves(x.W.OP, handlerstest.EndSession) || x.E.Serves(x.W.OP, handlerstest.EndSession+"foo") || x.E.Serves(x.W.OP, handlerstest.EndSession+"/") {
		t.Error("the path is not matched exactly")
	}
	if unable := (&logout.EndSession{}); unable.Serves(x.W.OP, handlerstest.EndSession) || unable.Members(x.W.OP) != nil {
		t.Error("it is served though there is nothing to end the OP's session by")
	}
	if asked := (&logout.EndSession{Explicit: true, Clients: x.E.Clients, BackChannel: x.E.BackChannel}); !asked.Serves(x.W.OP, handlerstest.EndSession) || asked.Members(x.W.OP) == nil || asked.Serves(op, handlerstest.EndSession) {
		t.Error("it is configured, and not served where the OP has none")
	}
}

func TestWithoutKeysNothingIsDone(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	x.W.WithoutKeys()
	x.SetUp()
	if got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", got.Status)
	}
	if x.Logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

// A hint that is no ID token of this OP is a bad request; one by a key that is not known counts as none.
func TestHintsThatAreNone(t *testing.T) {
	rsa := handlerstest.NewRSAKey(t)
	tests := map[string]struct {
		hint func(x *handlerstest.Exit) string
		want string
	}{
		"with a flipped signature": {func(x *handlerstest.Exit) string {
			token := x.Hint(handlerstest.ClientID, "alice")
			return token[:len(token)-4] + "AAAA"
		}, "error"},
		"with an empty signature": {func(x *handlerstest.Exit) string {
			token := x.Hint(handlerstest.ClientID, "alice")
			return token[:strings.LastIndex(token, ".")+1]
		}, "error"},
		"alg none": {func(*handlerstest.Exit) string {
			encode := base64.RawURLEncoding.EncodeToString
			return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(`{"iss":"`+handlerstest.Issuer+`","sub":"alice","aud":"shop"}`)) + "."
		}, "error"},
		"HS256 with the client's secret": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, jose.JSONWebKey{Key: []byte(strings.Repeat("s", 32)), KeyID: "1", Algorithm: "HS256"}, handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)
		}, "error"},
		"by another key under the same kid": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, handlerstest.NewKey(x.T, "1"), handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)
		}, "error"},
		"by another key under another kid": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, handlerstest.NewKey(x.T, "2"), handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)
		}, "question"},
		"by another key without a kid": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, handlerstest.NewKey(x.T, ""), handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)
		}, "question"},
		"by a key of another kind": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, rsa, handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)
		}, "question"},
		"with a key of its own": {func(x *handlerstest.Exit) string {
			own := handlerstest.NewKey(x.T, "own")
			return handlerstest.Sign(x.T, own, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"jwk": own.Public(), "jku": "https://evil.example/jwks"})
		}, "question"},
		"of another issuer": {func(x *handlerstest.Exit) string {
			c := handlerstest.IDClaims(handlerstest.ClientID, "alice")
			c["iss"] = handlerstest.Issuer + "/"
			return handlerstest.Sign(x.T, x.Key, c, nil)
		}, "error"},
		"an access token": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, x.Key, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"typ": "at+jwt"})
		}, "error"},
		"a logout token": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, x.Key, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"typ": "logout+jwt"})
		}, "error"},
		"a logout token without a type": {func(x *handlerstest.Exit) string {
			c := handlerstest.IDClaims(handlerstest.ClientID, "alice")
			c["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
			return handlerstest.Sign(x.T, x.Key, c, nil)
		}, "error"},
		"a nested token": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, x.Key, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"cty": "JWT"})
		}, "error"},
		"an encrypted token": {func(*handlerstest.Exit) string { return "a.b.c.d.e" }, "error"},
		"a refresh token":    {func(*handlerstest.Exit) string { return "8xLOxBtZp8" }, "error"},
		"malformed":          {func(*handlerstest.Exit) string { return "..." }, "error"},
		"without an audience": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, x.Key, map[string]any{"iss": handlerstest.Issuer, "sub": "alice"}, nil)
		}, "error"},
		"of another user": {func(x *handlerstest.Exit) string { return x.Hint(handlerstest.ClientID, "bob") }, "question"},
		"of another session of the user": {func(x *handlerstest.Exit) string {
			c := handlerstest.IDClaims(handlerstest.ClientID, "alice")
			c["sid"] = "yesterday's"
			return handlerstest.Sign(x.T, x.Key, c, nil)
		}, "question"},
		"for several audiences": {func(x *handlerstest.Exit) string {
			c := handlerstest.IDClaims(handlerstest.ClientID, "alice")
			c["aud"] = []string{handlerstest.ClientID, "api"}
			return handlerstest.Sign(x.T, x.Key, c, nil)
		}, "question"},
		"for several audiences, authorized to this client": {func(x *handlerstest.Exit) string {
			c := handlerstest.IDClaims("api", "alice")
			c["aud"], c["azp"] = []string{handlerstest.ClientID, "api"}, handlerstest.ClientID
			return handlerstest.Sign(x.T, x.Key, c, nil)
		}, "signed out"},
		"of type JWT": {func(x *handlerstest.Exit) string {
			return handlerstest.Sign(x.T, x.Key, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"typ": "JWT"})
		}, "signed out"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", tt.hint(x)))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			x.MustBe(tt.want != "signed out")
		})
	}
}

// An issuer's document may be away: a hint of that issuer counts as none, and is no error.
func TestAHintOfAnIssuerWhoseDocumentIsAwayCountsAsNone(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	op := c.Find("/application/o/shop" + handlers.WellKnown)
	keys := &opkeys.Keys{As: c.P.As}
	keys.Setup(c.W.Env)
	e := &logout.EndSession{Keys: keys}
	if err := e.Setup(c.W.Env); err != nil {
		t.Fatal(err)
	}
	respond, asked := c.Respond, ""
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		asked = r.URL.Path
		return respond(w, r)
	}
	token := handlerstest.HintOf(t, handlerstest.Issuer+"/application/o/none/")
	if _, err := e.VerifyHint(op, httptest.NewRequest("GET", handlerstest.Issuer+"/", nil), c, token); !errors.Is(err, tokens.ErrHintUnknownKey) {
		t.Errorf("got %v", err)
	}
	if asked != "/application/o/none"+handlers.WellKnown {
		t.Errorf("asked for %s", asked)
	}
}
