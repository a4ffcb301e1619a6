package logout_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/registration"
)

// Keycloak's logout endpoint had no protection against requests that other sites make a browser
// send.
func TestThreatCVE202010734LogoutByOtherSites(t *testing.T) {
	image := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil)
	image.Header.Set("Sec-Fetch-Dest", "image")
	navigation := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil)
	navigation.Header.Set("Sec-Fetch-Site", "cross-site")
	post := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader("state=1"))
	post.Header.Set("Content-Type", exchange.FormType)
	post.Header.Set("Origin", "https://evil.example")
	for want, r := range map[string]*http.Request{"nothing": image, "question": navigation, "question ": post} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		if got := handlerstest.Outcome(t, x.Do(r)); got != strings.TrimSpace(want) {
			t.Errorf("%s: got %s", want, got)
		}
		x.MustBe(true)
	}
}

// Abblix and authorizer ended whatever session there was for any valid ID token.
func TestThreatHintNotBoundToTheSession(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "bob"), "post_logout_redirect_uri", handlerstest.Bye))); got != "question" {
		t.Errorf("got %s", got)
	}
	x.MustBe(true)
}

// Abblix took a parameter for the user's answer.
func TestThreatConfirmedAsAParameter(t *testing.T) {
	for _, parameter := range []string{"confirmed", "confirm", "confirmation", "answer", "consent", "force", "request"} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		for _, value := range []string{"true", "1", "sign_out", "yes"} {
			if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values(parameter, value, "client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye))); strings.HasPrefix(got, "to ") {
				t.Errorf("%s=%s: got %s", parameter, value, got)
			}
		}
		x.MustBe(true)
	}
}

// thunderid took access and logout tokens for hints.
func TestThreatOtherTokensAsHint(t *testing.T) {
	for _, kind := range []string{"at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "AT+JWT", "jwt+x", ""} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		token := handlerstest.Sign(t, x.Key, handlerstest.IDClaims(handlerstest.ClientID, "alice"), map[jose.HeaderKey]any{"typ": kind})
		if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", token, "post_logout_redirect_uri", handlerstest.Bye))); got != "error" {
			t.Errorf("type %q: got %s", kind, got)
		}
		x.MustBe(true)
	}
}

// mod_auth_openidc and others sent browsers elsewhere after a logout.
func TestThreatCVE201914857OpenRedirectsAfterLogout(t *testing.T) {
	targets := []string{
		"///evil", `/\evil`, `\/evil`, "/%09//evil", handlerstest.Bye + "/", handlerstest.Bye + "\t", handlerstest.Bye + "%5c", handlerstest.Bye + "\r\nX: y", "https://rp.example.com@evil.example/bye",
		"https://rp.example.com.evil.example/bye", "https://xn--rp-example-com.evil/bye", "HTTPS://rp.example.com/bye", "https://rp.example.com:443/bye",
		"https://rp.example.com/bye?", "https://rp.example.com/bye#x", "//rp.example.com/bye", "javascript:alert(1)//https://rp.example.com/bye",
	}
	for _, target := range append(targets, handlerstest.ScriptTargets...) {
		if target == "" {
			continue // that is none
		}
		x := handlerstest.NewExit(t)
		request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", target)
		for _, signedIn := range []bool{false, true} {
			if signedIn {
				x.SignedIn(handlerstest.ClientID, "alice")
			}
			got := x.Ask(request)
			body := reply.ReadAll(t, got.Body)
			want := http.StatusOK
			if signedIn {
				want = http.StatusBadRequest
			}
			if got.StatusCode != want || got.Header.Get("Location") != "" || strings.Contains(body, "alert") {
				t.Errorf("%q: %s to %q: %s", target, got.Status, got.Header.Get("Location"), body)
			}
			for _, link := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				if link[1] != handlerstest.Bye && link[1] != handlerstest.EndSession+handlers.ConfirmSuffix && link[1] != "https://rp.example.com/" {
					t.Errorf("%q: there is a link to %s", target, link[1])
				}
			}
		}
		x.MustBe(true)
	}
}

// traefik-oidc-auth took every path that begins like its own.
func TestThreatPathsThatBeginAlike(t *testing.T) {
	x := handlerstest.NewExit(t)
	for _, path := range []string{handlerstest.EndSession + "foo", handlerstest.EndSession + "/", handlerstest.EndSession + "/confirm/", handlerstest.EndSession + "/confirmation", "/oidc/end-sessio", handlerstest.EndSession + "/x", "/x" + handlerstest.EndSession, "/OIDC/end-session"} {
		if x.E.Serves(x.W.OP, path) {
			t.Errorf("%s is served", path)
		}
	}
}

// mod_auth_openidc took the last of several parameters.
func TestThreatDuplicateParameters(t *testing.T) {
	for _, name := range logout.Parameters {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), name, "x", name, "x")
		if got := handlerstest.Outcome(t, x.Ask(request)); got != "error" {
			t.Errorf("%s twice: got %s", name, got)
		}
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession+"?"+name+"=x", strings.NewReader(url.Values{name: {"x"}}.Encode()))
		r.Header.Set("Content-Type", exchange.FormType)
		if got := handlerstest.Outcome(t, x.Once(r)); got != "error" {
			t.Errorf("%s in the URL and the form: got %s", name, got)
		}
		x.MustBe(true)
	}
}

// Anybody can write a client_id: what the page shows must not be theirs.
func TestTheQuestionNamesNobodyWhoIsNotKnown(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	if body := reply.ReadAll(t, x.Ask(handlerstest.Values("client_id", "Your bank (call 555-0100)")).Body); strings.Contains(body, "bank") {
		t.Error("the page shows what the link says")
	}
}

// A SameSite=Strict login cookie does not come with a link of another site's page, but it is
// there.
func TestALoginCookieThatDoesNotComeAlongIsNotTakenForGone(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	strict := x.Cookies["login"]
	delete(x.Cookies, "login")
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode(), nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	question := x.Once(r)
	x.Cookies["login"] = strict
	if got := handlerstest.Outcome(t, x.Answer(question, logout.AnswerSignOut)); got != "to "+handlerstest.Bye {
		t.Errorf("got %s", got)
	}
	x.MustBe(false)
}

// On hosts where our cookies are Lax, another site's POST comes without them: they must stay what
// they are.
func TestARefusedPostOfAnotherSiteLeavesTheCookies(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	kept := x.Cookies
	x.Cookies = map[string]string{"login": "alice"}
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader("id_token_hint=x"))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if got := x.Once(r); got.StatusCode != http.StatusBadRequest || len(got.Header["Set-Cookie"]) != 0 {
		t.Errorf("got %s with %q", got.Status, got.Header["Set-Cookie"])
	}
	x.Cookies = kept
	x.MustBe(true)
}

// endedURLs are what a browser that was signed out goes on at, and how to get there.
var endedURLs = map[string]func(x *handlerstest.Exit) *http.Request{
	"after the frames": func(x *handlerstest.Exit) *http.Request {
		return x.Next(reply.ReadAll(x.T, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, x.Cookies["login"]))).Body))
	},
	"to see that the OP's cookie is gone": func(x *handlerstest.Exit) *http.Request {
		x.E.Upstream, x.E.ClearCookies = nil, []browser.ClearCookie{{Name: "login"}}
		got := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, x.Cookies["login"])).Encode(), nil))
		return httptest.NewRequest(http.MethodGet, handlerstest.Issuer+got.Header.Get("Location"), nil)
	},
}

// A URL that says "signed out" says it of the browser that was, and of no other that somebody gets
// to open it.
func TestThreatAnothersSignedOutPage(t *testing.T) {
	for name, leave := range endedURLs {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, framed)
			x.SignedIn(handlerstest.ClientID, "mallory")
			mallorys := leave(x)
			for user, want := range map[string]string{"alice": "question", "": "signed out"} {
				x.Cookies = map[string]string{}
				if user != "" {
					x.SignedIn("wiki", user)
				}
				page := reply.ReadAll(t, x.Do(mallorys.Clone(t.Context())).Body)
				if !strings.Contains(page, map[string]string{"question": "<h1>Sign out?", "signed out": "<h1>You are signed out"}[want]) {
					t.Errorf("%q gets %s", user, page)
				}
				if strings.Contains(page, "asked to sign you out") || strings.Contains(page, "sid+of") {
					t.Errorf("%q gets to know of somebody else's session: %s", user, page)
				}
				if user != "" {
					x.MustBe(true)
				}
			}
		})
	}
}

func TestWhoHasSignedInSinceIsNotSignedOut(t *testing.T) {
	for name, leave := range endedURLs {
		x := handlerstest.NewExit(t, framed)
		x.SignedIn(handlerstest.ClientID, "alice")
		old := leave(x)
		x.SignedIn(handlerstest.ClientID, "alice")
		if got := handlerstest.Outcome(t, x.Do(old)); got != "question" {
			t.Errorf("%s: got %s", name, got)
		}
		x.MustBe(true)
	}
}

// While the registry is away, a browser that is signed out goes on under another ID; one that
// nobody has signed in here has none.
func TestASignedOutBrowserIsKnownByTheIDThatItIsGiven(t *testing.T) {
	for name, prepare := range map[string]func(x *handlerstest.Exit){
		"the registry is away":  func(x *handlerstest.Exit) { x.SignedIn(handlerstest.ClientID, "alice"); x.W.Down(); x.SetUp() },
		"the OP's cookie alone": func(x *handlerstest.Exit) { x.Cookies["login"] = "alice" },
	} {
		x := handlerstest.NewExit(t, framed, func(e *logout.EndSession) { e.Upstream = nil })
		prepare(x)
		gone := x.Answer(x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))), logout.AnswerSignOut)
		if got := handlerstest.Outcome(t, gone); got != "signed out" {
			t.Errorf("%s: got %s", name, got)
		}
		if _, atOP := x.IsSignedIn(); atOP || len(x.W.Logs.FilterMessage("end_session").FilterField(zap.String("outcome", "signed out")).All()) != 1 {
			t.Errorf("%s: signed in at the OP: %v; the log is %s", name, atOP, x.W.Logged())
		}
	}
	w := handlerstest.NewWorld(t)
	v := browser.ReadCookies(w.Env, w.OP, w.Keys, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/", nil))
	ok := new(logout.EndSession).ParkedBrowser(v)
	recorder := httptest.NewRecorder()
	v.Write(recorder.Header())
	if given := recorder.Result().Cookies(); !ok || len(given) != 1 || given[0].Name != w.OP.Cookies.Session {
		t.Errorf("a browser without an ID is given %v; the URL is for it: %v", given, ok)
	}
}

// Anybody may register a client where registration is open: the OP must not send browsers to an
// address of that client's for a mere link.
func TestThreatOpenRedirectByAClientThatRegisteredItself(t *testing.T) {
	const phish = "https://evil.example/phish"
	register := func(t *testing.T) (x *handlerstest.Exit, o *handlerstest.Registrar, link url.Values) {
		x = handlerstest.NewExit(t, framed)
		x.W.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks", SigningAlgorithms: []string{"ES256"}, RegistrationEndpoint: handlerstest.Issuer + handlerstest.RegistrationPath})
		o = &handlerstest.Registrar{T: t, W: x.W, Members: []string{"redirect_uris"}, Clients: make(map[string]map[string]any), G: &registration.Registration{Clients: x.E.Clients, EndSession: x.E, BackChannel: x.E.BackChannel}}
		o.G.Setup(x.W.Env)
		if status, _ := o.Send(http.MethodPost, handlerstest.RegistrationPath, `{"redirect_uris":["https://evil.example/cb"],"post_logout_redirect_uris":["`+phish+`"]}`); status != http.StatusCreated {
			t.Fatalf("registering: %d", status)
		}
		return x, o, handlerstest.Values("client_id", "client 1", "post_logout_redirect_uri", phish)
	}
	x, o, link := register(t)
	if got := handlerstest.Outcome(t, x.Ask(link)); got != "signed out" {
		t.Errorf("a link: %s", got)
	}
	if got := handlerstest.Outcome(t, x.PostForm(handlerstest.EndSession, "https://evil.example", link)); got != "signed out" {
		t.Errorf("a form: %s", got)
	}
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader(link.Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	parked := x.Once(r).Header.Get("Location")
	o.Send(http.MethodDelete, handlerstest.RegistrationPath+"/client%201", "")
	if got := handlerstest.Outcome(t, x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+parked, nil))); got != "signed out" {
		t.Errorf("after the client has deleted its registration: %s", got)
	}
	x, _, link = register(t)
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye))); got != "to "+handlerstest.Bye {
		t.Errorf("a client of the operator's: %s", got)
	}
	link.Set("id_token_hint", x.Hint("client 1", "alice"))
	if got := handlerstest.Outcome(t, x.Ask(link)); got != "to "+phish {
		t.Errorf("with a hint: %s", got)
	}
	link.Del("id_token_hint")
	x.SignedIn(handlerstest.ClientID, "alice")
	form := handlerstest.Values("confirmation", handlerstest.Confirmation(t, x.Ask(link)), "answer", logout.AnswerSignOut)
	page := reply.ReadAll(t, x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, form).Body)
	if got := handlerstest.Outcome(t, x.Once(x.Next(page))); got != "to "+phish {
		t.Errorf("the user wants it: %s", got)
	}
	if got := handlerstest.Outcome(t, x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, form)); got != "to "+phish {
		t.Errorf("the user wants it, and reloads: %s", got)
	}
}
