package handlers

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// What counts as said by the OP: each test has somebody else say it.

// fresh are the claims of an ID token that the OP has just issued.
func (w *world) fresh(client, user string) map[string]any {
	c := idClaims(client, user)
	c["iat"], c["exp"] = w.clock.Now().Unix(), w.clock.Now().Add(lifetime).Unix()
	return c
}

// idToken is an ID token that the OP has just issued.
func (w *world) idToken(t testing.TB, client, user string) string {
	t.Helper()
	return sign(t, w.key, w.fresh(client, user), nil)
}

// visited is a browser of alice's, signed in at the shop, and her session.
func visited(t testing.TB, w *world) (*agent, sessionstate.SessionID) {
	t.Helper()
	a, code := newAgent(t, w), rand.Text()
	a.signIn(code)
	w.redeem(t, codeForm(code), answering(tokenResponse(claims("alice", clientID))))
	w.seen = nil
	return a, a.openS().session
}

// untouched fails the test unless alice's session lives on, hers alone, and nothing was noted of the OP.
func (w *world) untouched(t *testing.T, a *agent, session sessionstate.SessionID) {
	t.Helper()
	if got := w.subs(t, session); got != "alice" || !w.live(t, session) || a.openS().session != session {
		t.Errorf("the session of alice is one of %q, live: %v", got, w.live(t, session))
	}
	if len(w.seen) > 0 {
		t.Errorf("noted of the OP: %q", w.seen)
	}
}

func TestThreatParametersOfTheRedirectURIItselfAreNotTheOPs(t *testing.T) {
	w := newWorld(t)
	genuine := w.idToken(t, clientID, "mallory")
	for name, tt := range map[string]struct{ own, response string }{
		"ID token beside a code":          {"id_token=" + genuine, "&code=c2&state=s"},
		"ID token beside an error":        {"id_token=" + genuine, "&error=login_required&state=s"},
		"ID token alone":                  {"id_token=" + genuine, "&state=s"},
		"ID token, state and all":         {"id_token=" + genuine + "&state=s", ""},
		"ID token behind the response":    {"x=1", "&code=c2&state=s&id_token=" + genuine},
		"code of somebody else":           {"code=mallorys", "&state=s"},
		"code of somebody else, an error": {"code=mallorys", "&error=access_denied&state=s"},
		"access token":                    {"access_token=t", "&state=s"},
	} {
		t.Run(name, func(t *testing.T) {
			a, session := visited(t, w)
			redirectURI := callback + "?" + tt.own
			a.dest = "iframe"
			a.get(ask("s", url.Values{"redirect_uri": {redirectURI}}), redirect("/continue"))
			a.get("/continue", redirect(redirectURI+tt.response))
			w.redeem(t, codeForm("mallorys"), answering(tokenResponse(claims("mallory", clientID))))
			w.seen = nil
			w.untouched(t, a, session)
		})
	}
}

func TestThreatATokenInAQueryIsNoResponse(t *testing.T) {
	w := newWorld(t)
	a, session := visited(t, w)
	location := callback + "?id_token=" + w.idToken(t, clientID, "mallory") + "&state=s"
	response := a.get(ask("s", url.Values{"response_type": {"id_token"}}), redirect(location))
	if got := response.Header.Get("Location"); got != location {
		t.Errorf("became %s", got)
	}
	w.untouched(t, a, session)
}

func TestParametersBesideThoseOfTheRedirectURICount(t *testing.T) {
	for own, response := range map[string]string{
		"iss=1&tenant=2":         "&code=c&state=s",
		"error=1":                "&code=c&state=s",
		"session_state=own":      "&code=c&state=s",
		"error_description=none": "&error=login_required&state=s",
	} {
		w := newWorld(t)
		a := newAgent(t, w)
		a.sessionState = SessionStateReplace
		redirectURI := callback + "?" + own
		if got := sessionState(t, a.get(ask("s", url.Values{"redirect_uri": {redirectURI}}), redirect(redirectURI+response))); !strings.Contains(got, ".") {
			t.Errorf("%s: session_state is %q", own, got)
		}
	}
}

func TestThreatAnIDTokenCountsForNothingUntilItIsVerified(t *testing.T) {
	w := newWorld(t)
	stranger := newKey(t, "1")
	with := func(change string, value any) map[string]any {
		c := w.fresh(clientID, "mallory")
		c[change] = value
		return c
	}
	bare := w.fresh(clientID, "mallory")
	forgeries := map[string]string{
		"by another key of the same name": sign(t, stranger, bare, nil),
		"by a key of another name":        sign(t, newKey(t, "2"), bare, nil),
		"by a secret":                     signed(t, bare),
		"by nobody":                       "eyJhbGciOiJub25lIn0." + strings.Split(sign(t, w.key, bare, nil), ".")[1] + ".",
		"with its signature cut off":      strings.Join(strings.Split(sign(t, w.key, bare, nil), ".")[:2], ".") + ".",
		"of another issuer":               sign(t, w.key, with("iss", "https://evil.example"), nil),
		"of another client":               sign(t, w.key, with("aud", "another"), nil),
		"of another authorized party":     sign(t, w.key, with("azp", "another"), nil),
		"expired an hour ago":             sign(t, w.key, with("exp", w.clock.Now().Unix()-3600), nil),
		"that is an access token":         sign(t, w.key, bare, map[jose.HeaderKey]any{jose.HeaderType: "at+jwt"}),
		"that is a logout token":          sign(t, w.key, with("events", map[string]any{}), nil),
		"with the key in its own header":  sign(t, stranger, bare, map[jose.HeaderKey]any{"jwk": stranger.Public()}),
	}
	for name, forged := range forgeries {
		for _, mode := range []string{"fragment", "form_post"} {
			t.Run(mode+" "+name, func(t *testing.T) {
				a, session := visited(t, w)
				w.answerHybrid(a, mode, forged)
				w.untouched(t, a, session)
			})
		}
	}
}

func TestAVerifiedIDTokenNamesTheUserAtOnce(t *testing.T) {
	for _, mode := range []string{"fragment", "form_post"} {
		w := newWorld(t)
		a, session := visited(t, w)
		w.answerHybrid(a, mode, w.idToken(t, clientID, "mallory"))
		if w.live(t, session) || len(w.seen) != 1 {
			t.Errorf("%s: the switch was not seen; noted %q", mode, w.seen)
		}
	}
}

func TestThreatAnIDTokenCountsForNothingWhileTheOPsKeysAreUnavailable(t *testing.T) {
	w := newWorld(t)
	a, session := visited(t, w)
	w.jwks = nil
	w.answerHybrid(a, "fragment", w.idToken(t, clientID, "mallory"))
	w.untouched(t, a, session)
	if strings.Contains(w.logged(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// A key that was withdrawn is known for hints of before: nothing is signed by it any more.
func TestThreatAKeyThatTheOPHasWithdrawnVerifiesNoSignIn(t *testing.T) {
	w := newWorld(t)
	a, session := visited(t, w)
	w.answerHybrid(a, "fragment", w.idToken(t, clientID, "alice"))
	withdrawn := w.key
	w.key = newKey(t, "2")
	w.jwks = []jose.JSONWebKey{w.key.Public()}
	w.clock.advance(2 * keysInterval)
	w.answerHybrid(a, "fragment", w.idToken(t, clientID, "alice")) // waits for the new key
	if len(w.seen) != 2 {
		t.Fatalf("noted of the OP: %q", w.seen)
	}
	w.seen = nil
	w.answerHybrid(a, "fragment", sign(t, withdrawn, w.fresh(clientID, "mallory"), nil))
	w.untouched(t, a, session)
}

// answerHybrid has the OP answer with a code and an ID token.
func (w *world) answerHybrid(a *agent, mode, idToken string) {
	w.clock.advance(1e9)
	respond := redirect(callback + "#code=c3&state=s&id_token=" + idToken)
	if mode == "form_post" {
		respond = respondPage(posted(callback, `<input name=code value=c3><input name=state value=s><input name=id_token value="`+idToken+`">`))
	}
	a.get(ask("s", url.Values{"response_type": {"code id_token"}, "response_mode": {mode}}), respond)
}

// A request object that cannot be read hides where the answer goes, and so whose it is.
func TestThreatTheAnswerToAnUnreadableRequestSaysLittle(t *testing.T) {
	w := newWorld(t)
	w.op.requestObjects, w.op.requestURIs = true, true
	blindly := "/authorize?client_id=" + clientID + "&request_uri=urn:unknown"
	for name, response := range map[string]string{
		"elsewhere":                   "https://evil.example/cb?code=c&state=s",
		"elsewhere, with an issuer":   "https://evil.example/cb?code=c&iss=" + url.QueryEscape(issuer),
		"elsewhere, with an ID token": "https://evil.example/cb#code=c&state=s&id_token=" + w.idToken(t, clientID, "mallory"),
		"to a native app":             "com.example.app:/cb?code=c&state=s",
	} {
		a, session := visited(t, w)
		if got := a.get(blindly, redirect(response)).Header.Get("Location"); got != response {
			t.Errorf("%s: became %s", name, got)
		}
		w.untouched(t, a, session)
	}

	a, session := visited(t, w)
	known := callback + "#code=c&state=s&id_token=" + w.idToken(t, clientID, "mallory")
	if got := sessionState(t, a.get(blindly, redirect(known))); got == "" {
		t.Error("an answer to the client's own origin gets no session_state")
	}
	w.untouched(t, a, session)
}

func TestAnOriginIsKnownByWhatTheClientHasRegistered(t *testing.T) {
	w := newWorld(t)
	w.op.requestURIs = true
	blindly := "/authorize?client_id=" + clientID + "&request_uri=urn:unknown"
	for _, registered := range []string{bye, "https://elsewhere.example.com/"} {
		a := newAgent(t, w)
		a.knows(Client{ID: clientID, PostLogoutRedirectURIs: []string{registered}})
		got := sessionState(t, a.get(blindly, redirect(callback+"?code=c&state=s")))
		if (got != "") != (registered == bye) {
			t.Errorf("with %s: session_state is %q", registered, got)
		}
	}
}

// Redirectors take what they are given from the URL and from forms, in encodings that strict readers refuse.
func TestThreatARedirectorIsKnownHoweverItIsGivenItsTarget(t *testing.T) {
	response := callback + "?code=mallorys&state=s"
	escaped := url.QueryEscape(response)
	form := func(mediaType, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, issuer+"/login", strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		return r
	}
	get := func(query string) *http.Request {
		return httptest.NewRequest(http.MethodGet, issuer+"/continue?"+query, nil)
	}
	multipart := "--x\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n" + response + "\r\n--x--\r\n"
	for name, request := range map[string]*http.Request{
		"a stray percent sign":    get("discount=50%&to=" + escaped),
		"one behind":              get("to=" + escaped + "&x=%zz"),
		"escaped three times":     get("a=%&to=" + url.QueryEscape(url.QueryEscape(escaped))),
		"parts of it":             get("host=rp.example.com&c=mallorys"),
		"a form":                  form(formType, "to="+escaped),
		"a form with a stray one": form(formType, "x=50%&to="+escaped),
		"a form of several parts": form("multipart/form-data; boundary=x", multipart),
		"a form as text":          form("text/plain", "to="+response),
		"a form over the bound":   form(formType, "x="+strings.Repeat("x", maxSubmission)+"&to="+escaped),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, session := visited(t, w)
			a.get(authorize("s"), page)
			if got := a.send(request, redirect(response)).Header.Get("Location"); got != response {
				t.Errorf("Location is %s", got)
			}
			w.redeem(t, codeForm("mallorys"), answering(tokenResponse(claims("mallory", clientID))))
			w.seen = nil
			w.untouched(t, a, session)
		})
	}
}

func TestAFormOfTheOPsOwnLoginPageIsNoRedirector(t *testing.T) {
	for name, form := range map[string]string{
		"a password": "user=alice&password=c%", "a response of SAML": "SAMLResponse=" + strings.Repeat("PHNhbWxwOlJlc3BvbnNl", 10<<10),
	} {
		w := newWorld(t)
		a := newAgent(t, w)
		a.get(authorize("s"), page)
		r := httptest.NewRequest(http.MethodPost, issuer+"/login?return_to="+url.QueryEscape(authorize("s")), strings.NewReader(form))
		r.Header.Set("Content-Type", formType)
		var passed string
		response := a.send(r, func(w http.ResponseWriter, r *http.Request) {
			passed = readAll(t, r.Body)
			redirect(callback+"?code=fresh&state=s")(w, r)
		})
		if sessionState(t, response) == "" || passed != form {
			t.Errorf("%s: header is %v; the OP got %.40q", name, response.Header, passed)
		}
	}
}

// A page signs its visitor in at an app of its choice: that is no sign-out, wherever the OP's end_session endpoint was told to go.
func TestThreatASignInIsNoSignOut(t *testing.T) {
	for _, response := range []string{"?code=c&state=s", "?error=login_required&state=s", "#id_token=t&state=s", "#access_token=t&state=s"} {
		w := newWorld(t)
		w.op.EndSessionPath = "/logout"
		a, session := visited(t, w)
		a.get("/logout?"+url.Values{"post_logout_redirect_uri": {callback}, "state": {"s"}}.Encode(), page)
		a.get("/login", redirect(callback+response))
		w.untouched(t, a, session)
	}
}

func TestThreatASignOutsAddressInAFormIsARedirectors(t *testing.T) {
	w := newWorld(t)
	w.op.EndSessionPath = "/logout"
	a, session := visited(t, w)
	a.get("/logout?"+url.Values{"post_logout_redirect_uri": {bye}}.Encode(), page)
	r := httptest.NewRequest(http.MethodPost, issuer+"/continue", strings.NewReader("x=%&to="+url.QueryEscape(bye)))
	r.Header.Set("Content-Type", formType)
	a.send(r, redirect(bye))
	w.untouched(t, a, session)
	if a.get("/logout/confirmed", redirect(bye)); w.live(t, session) {
		t.Error("the OP's own redirect does not count")
	}
}

func TestThreatATokenResponseCountsForTheClientThatAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		client, claims string
		recorded       bool
	}{
		"its own":             {clientID, claims("alice", clientID), true},
		"not named":           {"", claims("alice", clientID), true},
		"of another client":   {clientID, claims("alice", "wiki"), false},
		"of another issuer":   {clientID, strings.Replace(claims("alice", clientID), issuer, "https://evil.example", 1), false},
		"of another party":    {clientID, strings.Replace(claims("alice", clientID), `"exp"`, `"azp":"wiki","exp"`, 1), false},
		"asked by another":    {"wiki", claims("alice", clientID), false},
		"of several, its own": {clientID, strings.Replace(claims("alice", clientID), `"aud":"shop"`, `"aud":["wiki","shop"]`, 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			a.signIn("c")
			form := codeForm("c")
			if tt.client != "" {
				form.Set("client_id", tt.client)
			}
			w.redeem(t, form, answering(tokenResponse(tt.claims)))
			if got := w.subs(t, a.openS().session) == "alice"; got != tt.recorded || (len(w.seen) > 0) != tt.recorded {
				t.Errorf("recorded: %v; noted %q", got, w.seen)
			}
		})
	}
}

// A client that does not encode its ID for HTTP Basic (RFC 6749, section 2.3.1) is the one that it says, all the same.
func TestAClientThatDoesNotEncodeItsIDIsKnown(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.get(ask("s", url.Values{"client_id": {"shop+1"}}), redirect(callback+"?code=c&state=s"))
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	r.SetBasicAuth("shop+1", "secret")
	w.sendToken(t, r, answering(tokenResponse(claims("alice", "shop+1"))))
	if got := w.subs(t, a.openS().session); got != "alice" {
		t.Errorf("subjects are %q", got)
	}
}

func TestUnescapeUndoesWhatItCan(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "%": "%", "%4": "%4", "%41": "A", "50%&a=%41+b": "50%&a=A b", "%zz%41": "%zzA", "%%41": "%A", "%2541": "%41",
	} {
		if got := unescape(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
