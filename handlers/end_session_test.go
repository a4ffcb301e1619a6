package handlers

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// oddState is a state of 64 characters that every layer would like to change.
const oddState = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ %41%2f+&amp;=;äöü` + "\xff\t`'\"%%20;?#"

func TestSigningOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ask    func(x *exit) url.Values
		want   string
		signed bool // in, afterwards
	}{
		{"with a hint, a registered address and a state of oddState", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "state", oddState)
		}, "to " + bye + "?state=" + url.QueryEscape(oddState), false},
		{"with a hint and an address with a query", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", byeQuery, "state", "1")
		}, "to " + byeQuery + "&state=1", false},
		{"without a state nothing is added", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)
		}, "to " + bye, false},
		{"with a hint alone", func(x *exit) url.Values { return values("id_token_hint", x.hint(clientID, "alice")) }, "signed out", false},
		{"with everything", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "client_id", clientID,
				"logout_hint", "alice@example.com", "ui_locales", "xx tlh en", "state", "1", "more", "1", "more", "2")
		}, "to " + bye + "?state=1", false},
		{"of the other client of the session", func(x *exit) url.Values {
			return values("id_token_hint", x.hint("wiki", "alice"), "post_logout_redirect_uri", "https://wiki.example.com/")
		}, "to https://wiki.example.com/", false},
		{"without parameters", func(*exit) url.Values { return nil }, "question", true},
		{"with a state alone", func(*exit) url.Values { return values("state", "1") }, "question", true},
		{"with an address alone", func(*exit) url.Values { return values("post_logout_redirect_uri", bye) }, "question", true},
		{"with a client but no hint", func(*exit) url.Values { return values("client_id", clientID, "post_logout_redirect_uri", bye) }, "question", true},
		{"with another address than the registered ones", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", "https://rp.example.com/other")
		}, "error", true},
		{"with a query added to the address", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye+"?x=1")
		}, "error", true},
		{"with the address of another client", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", "https://wiki.example.com/")
		}, "error", true},
		{"of a client that is not configured, with an address", func(x *exit) url.Values {
			return values("id_token_hint", x.hint("nobody", "alice"), "post_logout_redirect_uri", bye)
		}, "error", true},
		{"with the client of another hint", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "client_id", "wiki")
		}, "error", true},
		{"with a parameter twice", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "state", "1", "state", "2")
		}, "error", true},
		{"with a hint for a client that has no part in the session", func(x *exit) url.Values { return values("id_token_hint", x.hint("mail", "alice")) }, "question", true},
		{"with a state that is too long", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "state", strings.Repeat("x", maxState+1))
		}, "error", true},
		{"with a hint that a script had none for", func(x *exit) url.Values {
			return values("id_token_hint", "undefined", "client_id", clientID, "post_logout_redirect_uri", bye)
		}, "question", true},
		{"with a hint of null", func(x *exit) url.Values { return values("id_token_hint", "null") }, "question", true},
		{"with a hint of many groups", func(x *exit) url.Values {
			c := idClaims(clientID, "alice")
			c["groups"] = strings.Repeat("g", 18<<10)
			return values("id_token_hint", sign(x.t, x.key, c, nil), "post_logout_redirect_uri", bye)
		}, "to " + bye, false},
		{"with the longest state", func(x *exit) url.Values {
			return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "state", strings.Repeat("\x00", maxState))
		}, "to " + bye + "?state=" + strings.Repeat("%00", maxState), false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, "POST from another site"} {
			t.Run(tt.name+", "+method, func(t *testing.T) {
				x := newExit(t)
				x.signedIn(clientID, "alice")
				x.signedIn("wiki", "alice")
				parameters := tt.ask(x)
				var got *http.Response
				switch method {
				case http.MethodGet:
					got = x.ask(parameters)
				case http.MethodPost:
					got = x.postForm(endSession, issuer, parameters)
				default:
					got = x.postForm(endSession, rpOrigin, parameters)
				}
				if outcome := outcome(t, got); outcome != tt.want {
					t.Errorf("got %s, want %s", outcome, tt.want)
				}
				x.mustBe(tt.signed)
				if wanted := !tt.signed; x.logouts.Load() == 1 != wanted {
					t.Errorf("the OP was asked %d times", x.logouts.Load())
				}
			})
		}
	}
}

func TestTheUserIsAskedAndAnswers(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	question := x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye, "state", "a b"))
	body := readAll(t, question.Body)
	if !strings.Contains(body, "The Shop") || !strings.Contains(body, "op.example.com") {
		t.Errorf("the question does not say who asks: %s", body)
	}
	question = x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye, "state", "a b"))
	if got := outcome(t, x.answer(question, answerStay)); got != "stayed" {
		t.Errorf("after no: %s", got)
	}
	x.mustBe(true)
	question = x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye, "state", "a b"))
	if got := outcome(t, x.answer(question, answerSignOut)); got != "to "+bye+"?state=a+b" {
		t.Errorf("after yes: %s", got)
	}
	x.mustBe(false)
	if c := x.openS(); c.browser.IsZero() {
		t.Error("the browser lost its ID")
	}
	if session := x.w.logged(); strings.Contains(session, `"reason":"login_cookie"`) || !strings.Contains(session, `"reason":"logout"`) {
		t.Errorf("the log does not say why the session ended: %s", session)
	}
}

func TestConfirmAlwaysAsksEverybodyWhoIsSignedIn(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.Confirm = ConfirmAlways })
	x.signedIn(clientID, "alice")
	if got := outcome(t, x.ask(values("id_token_hint", x.hint(clientID, "alice")))); got != "question" {
		t.Errorf("got %s", got)
	}
	x.mustBe(true)
}

func TestNotSignedInIsNoError(t *testing.T) {
	x := newExit(t)
	for name, tt := range map[string]struct {
		ask  url.Values
		want string
	}{
		"a hint and an address":   {values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "state", "1"), "to " + bye + "?state=1"},
		"a client and an address": {values("client_id", clientID, "post_logout_redirect_uri", bye), "to " + bye},
		"an address alone":        {values("post_logout_redirect_uri", bye), "signed out"},
		"nothing":                 {nil, "signed out"},
	} {
		if got := outcome(t, x.ask(tt.ask)); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	if x.logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

func TestSigningOutTwiceIsNoError(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)
	for range 2 {
		if got := outcome(t, x.ask(request)); got != "to "+bye {
			t.Errorf("got %s", got)
		}
	}
	if x.logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.logouts.Load())
	}
}

func TestWhoIsNotKnownForCertainIsAsked(t *testing.T) {
	for name, prepare := range map[string]func(x *exit){
		"the OP's cookie without one of ours":   func(x *exit) { x.cookies = map[string]string{"login": "alice"} },
		"our cookie without the OP's":           func(x *exit) { delete(x.cookies, "login") },
		"our cookie is not sealed by us":        func(x *exit) { x.cookies[x.w.op.cookies.session] = "forged" },
		"the registry is away":                  func(x *exit) { x.w.down(); x.setUp() },
		"the session has ended, the OP's lives": func(x *exit) { x.endElsewhere() },
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			x.setsLogin()
			request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)
			prepare(x)
			want := "question"
			if name == "our cookie without the OP's" {
				want = "to " + bye // the hint fits our own session
			}
			got := x.ask(request)
			if outcome := outcome(t, got); outcome != want {
				t.Fatalf("got %s, want %s", outcome, want)
			}
			if want != "question" {
				return
			}
			want = "to " + bye
			if name == "the registry is away" {
				want = "signed out" // and apps that are not could not be told
			}
			if got := outcome(t, x.answer(x.ask(request), answerSignOut)); got != want {
				t.Errorf("after yes: %s", got)
			}
			if _, atOP := x.isSignedIn(); atOP {
				t.Error("still signed in at the OP")
			}
		})
	}
}

// endElsewhere ends the session in the registry alone.
func (x *exit) endElsewhere() {
	x.t.Helper()
	x.w.end(x.t, x.openS().browser, registry.ReasonOperator)
}

func TestOnlyNavigationsOfAWholeTabAreActedUpon(t *testing.T) {
	for name, header := range map[string][2]string{
		"a frame":    {"Sec-Fetch-Dest", "iframe"},
		"an image":   {"Sec-Fetch-Dest", "image"},
		"a script's": {"Sec-Fetch-Dest", "empty"},
		"a fetch":    {"Sec-Fetch-Mode", "no-cors"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye).Encode(), nil)
			r.Header.Set(header[0], header[1])
			if got := x.once(r); got.StatusCode != http.StatusOK || outcome(t, got) != "nothing" {
				t.Errorf("got %s", got.Status)
			}
			x.mustBe(true)
		})
	}
}

func TestOtherMethodsAndEarlyDataDoNothing(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	target := issuer + endSession + "?id_token_hint=" + x.hint(clientID, "alice")
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
		if got := x.once(tt.request); got.StatusCode != tt.want {
			t.Errorf("%s: got %s", tt.request.Method, got.Status)
		}
	}
	x.mustBe(true)
}

func TestALargeRequestIsRefused(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	for name, got := range map[string]*http.Response{
		"form":  x.postForm(endSession, issuer, values("state", strings.Repeat("x", maxForm))),
		"query": x.ask(values("state", strings.Repeat("x", maxForm))),
		"hint":  x.ask(values("id_token_hint", strings.Repeat("x", 17<<10))),
	} {
		if got.StatusCode != http.StatusBadRequest || confirmation(t, got) == "" {
			t.Errorf("%s: got %s, or no offer to sign out", name, got.Status)
		}
	}
	x.mustBe(true)
}

func TestAnInvalidRequestOffersToSignOutButNotToGoAnywhere(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	page := x.ask(values("id_token_hint", "x", "post_logout_redirect_uri", bye, "state", "secret-state"))
	body := readAll(t, page.Body)
	if page.StatusCode != http.StatusBadRequest || !strings.Contains(body, "id_token_hint") || strings.Contains(body, "secret-state") {
		t.Errorf("got %s %s", page.Status, body)
	}
	if got := outcome(t, x.answer(x.ask(values("id_token_hint", "x", "post_logout_redirect_uri", bye)), answerSignOut)); got != "signed out" {
		t.Errorf("after the offer: %s", got)
	}
	x.mustBe(false)
	if got := x.ask(values("id_token_hint", "x")); got.StatusCode != http.StatusBadRequest || confirmation(t, got) != "" {
		t.Errorf("not signed in: got %s, or an offer", got.Status)
	}
}

func TestPagesKeepToThemselves(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	for name, page := range map[string]*http.Response{"question": x.ask(nil), "error": x.ask(values("id_token_hint", "x"))} {
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
	x := newExit(t)
	op := knownOP(t, issuer, metadata{EndSessionEndpoint: issuer + "/logout"})
	if x.e.Serves(op, endSession) {
		t.Error("ours is served beside it")
	}
	if !x.e.Serves(x.w.op, endSession) || x.e.Serves(x.w.op, endSession+"foo") || x.e.Serves(x.w.op, endSession+"/") {
		t.Error("the path is not matched exactly")
	}
	if unable := (&EndSession{}); unable.Serves(x.w.op, endSession) || unable.Members(x.w.op) != nil {
		t.Error("it is served though there is nothing to end the OP's session by")
	}
	if asked := (&EndSession{Explicit: true, Clients: x.e.Clients, BackChannel: x.e.BackChannel}); !asked.Serves(x.w.op, endSession) || asked.Members(x.w.op) == nil || asked.Serves(op, endSession) {
		t.Error("it is configured, and not served where the OP has none")
	}
}

func TestWithoutKeysNothingIsDone(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	x.w.withoutKeys()
	x.setUp()
	if got := x.ask(values("id_token_hint", x.hint(clientID, "alice"))); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", got.Status)
	}
	if x.logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

// A hint that is no ID token of this OP is a bad request; one by a key that is not known counts as none.
func TestHintsThatAreNone(t *testing.T) {
	rsa := newRSAKey(t)
	tests := map[string]struct {
		hint func(x *exit) string
		want string
	}{
		"with a flipped signature": {func(x *exit) string {
			token := x.hint(clientID, "alice")
			return token[:len(token)-4] + "AAAA"
		}, "error"},
		"with an empty signature": {func(x *exit) string {
			token := x.hint(clientID, "alice")
			return token[:strings.LastIndex(token, ".")+1]
		}, "error"},
		"alg none": {func(*exit) string {
			encode := base64.RawURLEncoding.EncodeToString
			return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(`{"iss":"`+issuer+`","sub":"alice","aud":"shop"}`)) + "."
		}, "error"},
		"HS256 with the client's secret": {func(x *exit) string {
			return sign(x.t, jose.JSONWebKey{Key: []byte(strings.Repeat("s", 32)), KeyID: "1", Algorithm: "HS256"}, idClaims(clientID, "alice"), nil)
		}, "error"},
		"by another key under the same kid": {func(x *exit) string { return sign(x.t, newKey(x.t, "1"), idClaims(clientID, "alice"), nil) }, "error"},
		"by another key under another kid":  {func(x *exit) string { return sign(x.t, newKey(x.t, "2"), idClaims(clientID, "alice"), nil) }, "question"},
		"by another key without a kid":      {func(x *exit) string { return sign(x.t, newKey(x.t, ""), idClaims(clientID, "alice"), nil) }, "question"},
		"by a key of another kind":          {func(x *exit) string { return sign(x.t, rsa, idClaims(clientID, "alice"), nil) }, "question"},
		"with a key of its own": {func(x *exit) string {
			own := newKey(x.t, "own")
			return sign(x.t, own, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"jwk": own.Public(), "jku": "https://evil.example/jwks"})
		}, "question"},
		"of another issuer": {func(x *exit) string {
			c := idClaims(clientID, "alice")
			c["iss"] = issuer + "/"
			return sign(x.t, x.key, c, nil)
		}, "error"},
		"an access token": {func(x *exit) string {
			return sign(x.t, x.key, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"typ": "at+jwt"})
		}, "error"},
		"a logout token": {func(x *exit) string {
			return sign(x.t, x.key, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"typ": "logout+jwt"})
		}, "error"},
		"a logout token without a type": {func(x *exit) string {
			c := idClaims(clientID, "alice")
			c["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
			return sign(x.t, x.key, c, nil)
		}, "error"},
		"a nested token": {func(x *exit) string {
			return sign(x.t, x.key, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"cty": "JWT"})
		}, "error"},
		"an encrypted token":  {func(*exit) string { return "a.b.c.d.e" }, "error"},
		"a refresh token":     {func(*exit) string { return "8xLOxBtZp8" }, "error"},
		"malformed":           {func(*exit) string { return "..." }, "error"},
		"without an audience": {func(x *exit) string { return sign(x.t, x.key, map[string]any{"iss": issuer, "sub": "alice"}, nil) }, "error"},
		"of another user":     {func(x *exit) string { return x.hint(clientID, "bob") }, "question"},
		"of another session of the user": {func(x *exit) string {
			c := idClaims(clientID, "alice")
			c["sid"] = "yesterday's"
			return sign(x.t, x.key, c, nil)
		}, "question"},
		"for several audiences": {func(x *exit) string {
			c := idClaims(clientID, "alice")
			c["aud"] = []string{clientID, "api"}
			return sign(x.t, x.key, c, nil)
		}, "question"},
		"for several audiences, authorized to this client": {func(x *exit) string {
			c := idClaims("api", "alice")
			c["aud"], c["azp"] = []string{clientID, "api"}, clientID
			return sign(x.t, x.key, c, nil)
		}, "signed out"},
		"of type JWT": {func(x *exit) string {
			return sign(x.t, x.key, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"typ": "JWT"})
		}, "signed out"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			if got := outcome(t, x.ask(values("id_token_hint", tt.hint(x)))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			x.mustBe(tt.want != "signed out")
		})
	}
}
