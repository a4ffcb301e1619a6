package signin_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// visited is a browser of alice's, signed in at the shop, and her session.
func visited(t testing.TB, w *handlerstest.World) (*handlerstest.Agent, sessionstate.SessionID) {
	t.Helper()
	a, code := handlerstest.NewAgent(t, w), rand.Text()
	a.SignIn(code)
	w.Redeem(t, handlerstest.CodeForm(code), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))))
	w.Seen = nil
	return a, a.OpenS().Session
}

func TestThreatParametersOfTheRedirectURIItselfAreNotTheOPs(t *testing.T) {
	w := handlerstest.NewWorld(t)
	genuine := w.IDToken(t, handlerstest.ClientID, "mallory")
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
			redirectURI := handlerstest.Callback + "?" + tt.own
			a.Dest = "iframe"
			a.Get(handlerstest.Ask("s", url.Values{"redirect_uri": {redirectURI}}), reply.Redirect("/continue"))
			a.Get("/continue", reply.Redirect(redirectURI+tt.response))
			w.Redeem(t, handlerstest.CodeForm("mallorys"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("mallory", handlerstest.ClientID))))
			w.Seen = nil
			w.Untouched(t, a, session)
		})
	}
}

func TestThreatATokenInAQueryIsNoResponse(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, session := visited(t, w)
	location := handlerstest.Callback + "?id_token=" + w.IDToken(t, handlerstest.ClientID, "mallory") + "&state=s"
	response := a.Get(handlerstest.Ask("s", url.Values{"response_type": {"id_token"}}), reply.Redirect(location))
	if got := response.Header.Get("Location"); got != location {
		t.Errorf("became %s", got)
	}
	w.Untouched(t, a, session)
}

func TestParametersBesideThoseOfTheRedirectURICount(t *testing.T) {
	for own, response := range map[string]string{
		"iss=1&tenant=2":         "&code=c&state=s",
		"error=1":                "&code=c&state=s",
		"session_state=own":      "&code=c&state=s",
		"error_description=none": "&error=login_required&state=s",
	} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		a.SessionState = handlers.SessionStateReplace
		redirectURI := handlerstest.Callback + "?" + own
		if got := handlerstest.SessionState(t, a.Get(handlerstest.Ask("s", url.Values{"redirect_uri": {redirectURI}}), reply.Redirect(redirectURI+response))); !strings.Contains(got, ".") {
			t.Errorf("%s: session_state is %q", own, got)
		}
	}
}

func TestThreatAnIDTokenCountsForNothingUntilItIsVerified(t *testing.T) {
	w := handlerstest.NewWorld(t)
	stranger := handlerstest.NewKey(t, "1")
	with := func(change string, value any) map[string]any {
		c := w.Fresh(handlerstest.ClientID, "mallory")
		c[change] = value
		return c
	}
	bare := w.Fresh(handlerstest.ClientID, "mallory")
	forgeries := map[string]string{
		"by another key of the same name": handlerstest.Sign(t, stranger, bare, nil),
		"by a key of another name":        handlerstest.Sign(t, handlerstest.NewKey(t, "2"), bare, nil),
		"by a secret":                     signed(t, bare),
		"by nobody":                       "eyJhbGciOiJub25lIn0." + strings.Split(handlerstest.Sign(t, w.Key, bare, nil), ".")[1] + ".",
		"with its signature cut off":      strings.Join(strings.Split(handlerstest.Sign(t, w.Key, bare, nil), ".")[:2], ".") + ".",
		"of another issuer":               handlerstest.Sign(t, w.Key, with("iss", "https://evil.example"), nil),
		"of another client":               handlerstest.Sign(t, w.Key, with("aud", "another"), nil),
		"of another authorized party":     handlerstest.Sign(t, w.Key, with("azp", "another"), nil),
		"expired an hour ago":             handlerstest.Sign(t, w.Key, with("exp", w.Clock.Now().Unix()-3600), nil),
		"that is an access token":         handlerstest.Sign(t, w.Key, bare, map[jose.HeaderKey]any{jose.HeaderType: "at+jwt"}),
		"that is a logout token":          handlerstest.Sign(t, w.Key, with("events", map[string]any{}), nil),
		"with the key in its own header":  handlerstest.Sign(t, stranger, bare, map[jose.HeaderKey]any{"jwk": stranger.Public()}),
	}
	for name, forged := range forgeries {
		for _, mode := range []string{"fragment", "form_post"} {
			t.Run(mode+" "+name, func(t *testing.T) {
				a, session := visited(t, w)
				w.AnswerHybrid(a, mode, forged)
				w.Untouched(t, a, session)
			})
		}
	}
}

func TestAVerifiedIDTokenNamesTheUserAtOnce(t *testing.T) {
	for _, mode := range []string{"fragment", "form_post"} {
		w := handlerstest.NewWorld(t)
		a, session := visited(t, w)
		w.AnswerHybrid(a, mode, w.IDToken(t, handlerstest.ClientID, "mallory"))
		if w.Live(t, session) || len(w.Seen) != 1 {
			t.Errorf("%s: the switch was not seen; noted %q", mode, w.Seen)
		}
	}
}

func TestThreatAnIDTokenCountsForNothingWhileTheOPsKeysAreUnavailable(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, session := visited(t, w)
	w.JWKS = nil
	w.AnswerHybrid(a, "fragment", w.IDToken(t, handlerstest.ClientID, "mallory"))
	w.Untouched(t, a, session)
	if strings.Contains(w.Logged(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// A key that was withdrawn is known for hints of before: nothing is signed by it any more.
func TestThreatAKeyThatTheOPHasWithdrawnVerifiesNoSignIn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, session := visited(t, w)
	w.AnswerHybrid(a, "fragment", w.IDToken(t, handlerstest.ClientID, "alice"))
	withdrawn := w.Key
	w.Key = handlerstest.NewKey(t, "2")
	w.JWKS = []jose.JSONWebKey{w.Key.Public()}
	w.Clock.Advance(2 * opkeys.Interval)
	w.AnswerHybrid(a, "fragment", w.IDToken(t, handlerstest.ClientID, "alice")) // waits for the new key
	if len(w.Seen) != 2 {
		t.Fatalf("noted of the OP: %q", w.Seen)
	}
	w.Seen = nil
	w.AnswerHybrid(a, "fragment", handlerstest.Sign(t, withdrawn, w.Fresh(handlerstest.ClientID, "mallory"), nil))
	w.Untouched(t, a, session)
}

// A request object that cannot be read hides where the answer goes, and so whose it is.
func TestThreatTheAnswerToAnUnreadableRequestSaysLittle(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.OP.RequestParameter, w.OP.RequestURIParameter = true, true
	blindly := "/authorize?client_id=" + handlerstest.ClientID + "&request_uri=urn:unknown"
	for name, response := range map[string]string{
		"elsewhere":                   "https://evil.example/cb?code=c&state=s",
		"elsewhere, with an issuer":   "https://evil.example/cb?code=c&iss=" + url.QueryEscape(handlerstest.Issuer),
		"elsewhere, with an ID token": "https://evil.example/cb#code=c&state=s&id_token=" + w.IDToken(t, handlerstest.ClientID, "mallory"),
		"to a native app":             "com.example.app:/cb?code=c&state=s",
	} {
		a, session := visited(t, w)
		if got := a.Get(blindly, reply.Redirect(response)).Header.Get("Location"); got != response {
			t.Errorf("%s: became %s", name, got)
		}
		w.Untouched(t, a, session)
	}

	a, session := visited(t, w)
	known := handlerstest.Callback + "#code=c&state=s&id_token=" + w.IDToken(t, handlerstest.ClientID, "mallory")
	if got := handlerstest.SessionState(t, a.Get(blindly, reply.Redirect(known))); got == "" {
		t.Error("an answer to the client's own origin gets no session_state")
	}
	w.Untouched(t, a, session)
}

func TestAnOriginIsKnownByWhatTheClientHasRegistered(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.OP.RequestURIParameter = true
	blindly := "/authorize?client_id=" + handlerstest.ClientID + "&request_uri=urn:unknown"
	for _, registered := range []string{handlerstest.Bye, "https://elsewhere.example.com/"} {
		a := handlerstest.NewAgent(t, w)
		a.Knows(clients.Client{ID: handlerstest.ClientID, PostLogoutRedirectURIs: []string{registered}})
		got := handlerstest.SessionState(t, a.Get(blindly, reply.Redirect(handlerstest.Callback+"?code=c&state=s")))
		if (got != "") != (registered == handlerstest.Bye) {
			t.Errorf("with %s: session_state is %q", registered, got)
		}
	}
}

// Redirectors take what they are given from the URL and from forms, in encodings that strict
// readers refuse.
func TestThreatARedirectorIsKnownHoweverItIsGivenItsTarget(t *testing.T) {
	response := handlerstest.Callback + "?code=mallorys&state=s"
	escaped := url.QueryEscape(response)
	form := func(mediaType, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/login", strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		return r
	}
	get := func(query string) *http.Request {
		return httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/continue?"+query, nil)
	}
	multipart := "--x\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n" + response + "\r\n--x--\r\n"
	for name, request := range map[string]*http.Request{
		"a stray percent sign":    get("discount=50%&to=" + escaped),
		"one behind":              get("to=" + escaped + "&x=%zz"),
		"escaped three times":     get("a=%&to=" + url.QueryEscape(url.QueryEscape(escaped))),
		"parts of it":             get("host=rp.example.com&c=mallorys"),
		"a form":                  form(exchange.FormType, "to="+escaped),
		"a form with a stray one": form(exchange.FormType, "x=50%&to="+escaped),
		"a form of several parts": form("multipart/form-data; boundary=x", multipart),
		"a form as text":          form("text/plain", "to="+response),
		"a form over the bound":   form(exchange.FormType, "x="+strings.Repeat("x", exchange.MaxSubmission)+"&to="+escaped),
	} {
		t.Run(name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, session := visited(t, w)
			a.Get(handlerstest.Authorize("s"), reply.Page)
			if got := a.Send(request, reply.Redirect(response)).Header.Get("Location"); got != response {
				t.Errorf("Location is %s", got)
			}
			w.Redeem(t, handlerstest.CodeForm("mallorys"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("mallory", handlerstest.ClientID))))
			w.Seen = nil
			w.Untouched(t, a, session)
		})
	}
}

func TestAFormOfTheOPsOwnLoginPageIsNoRedirector(t *testing.T) {
	for name, form := range map[string]string{
		"a password": "user=alice&password=c%", "a response of SAML": "SAMLResponse=" + strings.Repeat("PHNhbWxwOlJlc3BvbnNl", 10<<10),
	} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		a.Get(handlerstest.Authorize("s"), reply.Page)
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/login?return_to="+url.QueryEscape(handlerstest.Authorize("s")), strings.NewReader(form))
		r.Header.Set("Content-Type", exchange.FormType)
		var passed string
		response := a.Send(r, func(w http.ResponseWriter, r *http.Request) {
			passed = reply.ReadAll(t, r.Body)
			reply.Redirect(handlerstest.Callback+"?code=fresh&state=s")(w, r)
		})
		if handlerstest.SessionState(t, response) == "" || passed != form {
			t.Errorf("%s: header is %v; the OP got %.40q", name, response.Header, passed)
		}
	}
}

// A page signs its visitor in at an app of its choice: that is no sign-out, wherever the OP's
// end_session endpoint was told to go.
func TestThreatASignInIsNoSignOut(t *testing.T) {
	for _, response := range []string{"?code=c&state=s", "?error=login_required&state=s", "#id_token=t&state=s", "#access_token=t&state=s"} {
		w := handlerstest.NewWorld(t)
		w.OP.EndSessionPath = "/logout"
		a, session := visited(t, w)
		a.Get("/logout?"+url.Values{"post_logout_redirect_uri": {handlerstest.Callback}, "state": {"s"}}.Encode(), reply.Page)
		a.Get("/login", reply.Redirect(handlerstest.Callback+response))
		w.Untouched(t, a, session)
	}
}

func TestThreatASignOutsAddressInAFormIsARedirectors(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.OP.EndSessionPath = "/logout"
	a, session := visited(t, w)
	a.Get("/logout?"+url.Values{"post_logout_redirect_uri": {handlerstest.Bye}}.Encode(), reply.Page)
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/continue", strings.NewReader("x=%&to="+url.QueryEscape(handlerstest.Bye)))
	r.Header.Set("Content-Type", exchange.FormType)
	a.Send(r, reply.Redirect(handlerstest.Bye))
	w.Untouched(t, a, session)
	if a.Get("/logout/confirmed", reply.Redirect(handlerstest.Bye)); w.Live(t, session) {
		t.Error("the OP's own redirect does not count")
	}
}

func TestThreatATokenResponseCountsForTheClientThatAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		client, claims string
		recorded       bool
	}{
		"its own":             {handlerstest.ClientID, handlerstest.Claims("alice", handlerstest.ClientID), true},
		"not named":           {"", handlerstest.Claims("alice", handlerstest.ClientID), true},
		"of another client":   {handlerstest.ClientID, handlerstest.Claims("alice", "wiki"), false},
		"of another issuer":   {handlerstest.ClientID, strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), handlerstest.Issuer, "https://evil.example", 1), false},
		"of another party":    {handlerstest.ClientID, strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), `"exp"`, `"azp":"wiki","exp"`, 1), false},
		"asked by another":    {"wiki", handlerstest.Claims("alice", handlerstest.ClientID), false},
		"of several, its own": {handlerstest.ClientID, strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), `"aud":"shop"`, `"aud":["wiki","shop"]`, 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			a.SignIn("c")
			form := handlerstest.CodeForm("c")
			if tt.client != "" {
				form.Set("client_id", tt.client)
			}
			w.Redeem(t, form, reply.Answering(handlerstest.TokenResponse(tt.claims)))
			if got := w.Subs(t, a.OpenS().Session) == "alice"; got != tt.recorded || (len(w.Seen) > 0) != tt.recorded {
				t.Errorf("recorded: %v; noted %q", got, w.Seen)
			}
		})
	}
}

// A client that does not encode its ID for HTTP Basic (RFC 6749, section 2.3.1) is the one that it
// says, all the same.
func TestAClientThatDoesNotEncodeItsIDIsKnown(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Ask("s", url.Values{"client_id": {"shop+1"}}), reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.SetBasicAuth("shop+1", "secret")
	w.SendToken(t, r, reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", "shop+1"))))
	if got := w.Subs(t, a.OpenS().Session); got != "alice" {
		t.Errorf("subjects are %q", got)
	}
}
