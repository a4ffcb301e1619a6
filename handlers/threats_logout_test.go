package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
)

// Keycloak's logout endpoint had no protection against requests that other sites make a browser send.
func TestThreatCVE202010734LogoutByOtherSites(t *testing.T) {
	image := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	image.Header.Set("Sec-Fetch-Dest", "image")
	navigation := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	navigation.Header.Set("Sec-Fetch-Site", "cross-site")
	post := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader("state=1"))
	post.Header.Set("Content-Type", formType)
	post.Header.Set("Origin", "https://evil.example")
	for want, r := range map[string]*http.Request{"nothing": image, "question": navigation, "question ": post} {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		if got := outcome(t, x.do(r)); got != strings.TrimSpace(want) {
			t.Errorf("%s: got %s", want, got)
		}
		x.mustBe(true)
	}
}

// Abblix and authorizer ended whatever session there was for any valid ID token.
func TestThreatHintNotBoundToTheSession(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	if got := outcome(t, x.ask(values("id_token_hint", x.hint(clientID, "bob"), "post_logout_redirect_uri", bye))); got != "question" {
		t.Errorf("got %s", got)
	}
	x.mustBe(true)
}

// Abblix took a parameter for the user's answer.
func TestThreatConfirmedAsAParameter(t *testing.T) {
	for _, parameter := range []string{"confirmed", "confirm", "confirmation", "answer", "consent", "force", "request"} {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		for _, value := range []string{"true", "1", "sign_out", "yes"} {
			if got := outcome(t, x.ask(values(parameter, value, "client_id", clientID, "post_logout_redirect_uri", bye))); strings.HasPrefix(got, "to ") {
				t.Errorf("%s=%s: got %s", parameter, value, got)
			}
		}
		x.mustBe(true)
	}
}

// thunderid took access and logout tokens for hints.
func TestThreatOtherTokensAsHint(t *testing.T) {
	for _, kind := range []string{"at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "AT+JWT", "jwt+x", ""} {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		token := sign(t, x.key, idClaims(clientID, "alice"), map[jose.HeaderKey]any{"typ": kind})
		if got := outcome(t, x.ask(values("id_token_hint", token, "post_logout_redirect_uri", bye))); got != "error" {
			t.Errorf("type %q: got %s", kind, got)
		}
		x.mustBe(true)
	}
}

// mod_auth_openidc and others sent browsers elsewhere after a logout.
func TestThreatCVE201914857OpenRedirectsAfterLogout(t *testing.T) {
	targets := []string{
		"///evil", `/\evil`, `\/evil`, "/%09//evil", bye + "/", bye + "\t", bye + "%5c", bye + "\r\nX: y", "https://rp.example.com@evil.example/bye",
		"https://rp.example.com.evil.example/bye", "https://xn--rp-example-com.evil/bye", "HTTPS://rp.example.com/bye", "https://rp.example.com:443/bye",
		"https://rp.example.com/bye?", "https://rp.example.com/bye#x", "//rp.example.com/bye", "javascript:alert(1)//https://rp.example.com/bye",
	}
	for _, target := range append(targets, scriptTargets...) {
		if target == "" {
			continue // that is none
		}
		x := newExit(t)
		request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", target)
		for _, signedIn := range []bool{false, true} {
			if signedIn {
				x.signedIn(clientID, "alice")
			}
			got := x.ask(request)
			body := readAll(t, got.Body)
			want := http.StatusOK
			if signedIn {
				want = http.StatusBadRequest
			}
			if got.StatusCode != want || got.Header.Get("Location") != "" || strings.Contains(body, "alert") {
				t.Errorf("%q: %s to %q: %s", target, got.Status, got.Header.Get("Location"), body)
			}
			for _, link := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				if link[1] != bye && link[1] != endSession+confirmSuffix && link[1] != "https://rp.example.com/" {
					t.Errorf("%q: there is a link to %s", target, link[1])
				}
			}
		}
		x.mustBe(true)
	}
}

// traefik-oidc-auth took every path that begins like its own.
func TestThreatPathsThatBeginAlike(t *testing.T) {
	x := newExit(t)
	for _, path := range []string{endSession + "foo", endSession + "/", endSession + "/confirm/", endSession + "/confirmation", "/oidc/end-sessio", endSession + "/x", "/x" + endSession, "/OIDC/end-session"} {
		if x.e.Serves(x.w.op, path) {
			t.Errorf("%s is served", path)
		}
	}
}

// mod_auth_openidc took the last of several parameters.
func TestThreatDuplicateParameters(t *testing.T) {
	for _, name := range logoutParameters {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		request := values("id_token_hint", x.hint(clientID, "alice"), name, "x", name, "x")
		if got := outcome(t, x.ask(request)); got != "error" {
			t.Errorf("%s twice: got %s", name, got)
		}
		r := httptest.NewRequest(http.MethodPost, issuer+endSession+"?"+name+"=x", strings.NewReader(url.Values{name: {"x"}}.Encode()))
		r.Header.Set("Content-Type", formType)
		if got := outcome(t, x.once(r)); got != "error" {
			t.Errorf("%s in the URL and the form: got %s", name, got)
		}
		x.mustBe(true)
	}
}

// Anybody can write a client_id: what the page shows must not be theirs.
func TestTheQuestionNamesNobodyWhoIsNotKnown(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	if body := readAll(t, x.ask(values("client_id", "Your bank (call 555-0100)")).Body); strings.Contains(body, "bank") {
		t.Error("the page shows what the link says")
	}
}

// A SameSite=Strict login cookie does not come with a link of another site's page, but it is there.
func TestALoginCookieThatDoesNotComeAlongIsNotTakenForGone(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	strict := x.cookies["login"]
	delete(x.cookies, "login")
	r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye).Encode(), nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	question := x.once(r)
	x.cookies["login"] = strict
	if got := outcome(t, x.answer(question, answerSignOut)); got != "to "+bye {
		t.Errorf("got %s", got)
	}
	x.mustBe(false)
}

// On hosts where our cookies are Lax, another site's POST comes without them: they must stay what they are.
func TestARefusedPostOfAnotherSiteLeavesTheCookies(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	kept := x.cookies
	x.cookies = map[string]string{"login": "alice"}
	r := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader("id_token_hint=x"))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if got := x.once(r); got.StatusCode != http.StatusBadRequest || len(got.Header["Set-Cookie"]) != 0 {
		t.Errorf("got %s with %q", got.Status, got.Header["Set-Cookie"])
	}
	x.cookies = kept
	x.mustBe(true)
}

// endedURLs are what a browser that was signed out goes on at, and how to get there.
var endedURLs = map[string]func(x *exit) *http.Request{
	"after the frames": func(x *exit) *http.Request {
		return x.next(readAll(x.t, x.ask(values("id_token_hint", x.hint(clientID, x.cookies["login"]))).Body))
	},
	"to see that the OP's cookie is gone": func(x *exit) *http.Request {
		x.e.Upstream, x.e.ClearCookies = nil, []ClearCookie{{Name: "login"}}
		got := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, x.cookies["login"])).Encode(), nil))
		return httptest.NewRequest(http.MethodGet, issuer+got.Header.Get("Location"), nil)
	},
}

// A URL that says "signed out" says it of the browser that was, and of no other that somebody gets to open it.
func TestThreatAnothersSignedOutPage(t *testing.T) {
	for name, leave := range endedURLs {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, framed)
			x.signedIn(clientID, "mallory")
			mallorys := leave(x)
			for user, want := range map[string]string{"alice": "question", "": "signed out"} {
				x.cookies = map[string]string{}
				if user != "" {
					x.signedIn("wiki", user)
				}
				page := readAll(t, x.do(mallorys.Clone(t.Context())).Body)
				if !strings.Contains(page, map[string]string{"question": "<h1>Sign out?", "signed out": "<h1>You are signed out"}[want]) {
					t.Errorf("%q gets %s", user, page)
				}
				if strings.Contains(page, "asked to sign you out") || strings.Contains(page, "sid+of") {
					t.Errorf("%q gets to know of somebody else's session: %s", user, page)
				}
				if user != "" {
					x.mustBe(true)
				}
			}
		})
	}
}

func TestWhoHasSignedInSinceIsNotSignedOut(t *testing.T) {
	for name, leave := range endedURLs {
		x := newExit(t, framed)
		x.signedIn(clientID, "alice")
		old := leave(x)
		x.signedIn(clientID, "alice")
		if got := outcome(t, x.do(old)); got != "question" {
			t.Errorf("%s: got %s", name, got)
		}
		x.mustBe(true)
	}
}

// While the registry is away, a browser that is signed out goes on under another ID; one that nobody has signed in here has none.
func TestASignedOutBrowserIsKnownByTheIDThatItIsGiven(t *testing.T) {
	for name, prepare := range map[string]func(x *exit){
		"the registry is away":  func(x *exit) { x.signedIn(clientID, "alice"); x.w.down(); x.setUp() },
		"the OP's cookie alone": func(x *exit) { x.cookies["login"] = "alice" },
	} {
		x := newExit(t, framed, func(e *EndSession) { e.Upstream = nil })
		prepare(x)
		gone := x.answer(x.ask(values("id_token_hint", x.hint(clientID, "alice"))), answerSignOut)
		if got := outcome(t, gone); got != "signed out" {
			t.Errorf("%s: got %s", name, got)
		}
		if _, atOP := x.isSignedIn(); atOP || len(x.w.logs.FilterMessage("end_session").FilterField(zap.String("outcome", "signed out")).All()) != 1 {
			t.Errorf("%s: signed in at the OP: %v; the log is %s", name, atOP, x.w.logged())
		}
	}
	w := newWorld(t)
	v := newVisit(w.env, w.op, w.keys, httptest.NewRequest(http.MethodGet, issuer+"/", nil))
	location, err := url.Parse(new(EndSession).next(leaveOf(v, nil, logoutRequest{}), sealedLogout{Ended: true}))
	if err != nil {
		t.Fatal(err)
	}
	sealed, ok := openLogout(v, parkedPurpose, location.Query().Get(parkedParameter))
	recorder := httptest.NewRecorder()
	v.writeCookies(recorder.Header())
	if given := recorder.Result().Cookies(); !ok || len(given) != 1 || given[0].Name != w.op.cookies.session || !sealed.isOfBrowser(v.sealed.browser) {
		t.Errorf("a browser without an ID is given %v for %+v", given, sealed)
	}
}

// leaveOf is a request of the endpoint by a browser.
func leaveOf(v *visit, r *http.Request, request logoutRequest) *leave {
	return &leave{visit: v, op: v.op, r: r, request: request}
}

// Anybody may register a client where registration is open: the OP must not send browsers to an address of that client's for a mere link.
func TestThreatOpenRedirectByAClientThatRegisteredItself(t *testing.T) {
	const phish = "https://evil.example/phish"
	register := func(t *testing.T) (x *exit, o *registrar, link url.Values) {
		x = newExit(t, framed)
		x.w.op = knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks", SigningAlgorithms: []string{"ES256"}, RegistrationEndpoint: issuer + registrationPath})
		o = &registrar{t: t, w: x.w, members: []string{"redirect_uris"}, clients: make(map[string]map[string]any), g: &Registration{Clients: x.e.Clients, EndSession: x.e, BackChannel: x.e.BackChannel}}
		o.g.Setup(x.w.env)
		if status, _ := o.send(http.MethodPost, registrationPath, `{"redirect_uris":["https://evil.example/cb"],"post_logout_redirect_uris":["`+phish+`"]}`); status != http.StatusCreated {
			t.Fatalf("registering: %d", status)
		}
		return x, o, values("client_id", "client 1", "post_logout_redirect_uri", phish)
	}
	x, o, link := register(t)
	if got := outcome(t, x.ask(link)); got != "signed out" {
		t.Errorf("a link: %s", got)
	}
	if got := outcome(t, x.postForm(endSession, "https://evil.example", link)); got != "signed out" {
		t.Errorf("a form: %s", got)
	}
	r := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader(link.Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	parked := x.once(r).Header.Get("Location")
	o.send(http.MethodDelete, registrationPath+"/client%201", "")
	if got := outcome(t, x.once(httptest.NewRequest(http.MethodGet, issuer+parked, nil))); got != "signed out" {
		t.Errorf("after the client has deleted its registration: %s", got)
	}
	x, _, link = register(t)
	if got := outcome(t, x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye))); got != "to "+bye {
		t.Errorf("a client of the operator's: %s", got)
	}
	link.Set("id_token_hint", x.hint("client 1", "alice"))
	if got := outcome(t, x.ask(link)); got != "to "+phish {
		t.Errorf("with a hint: %s", got)
	}
	link.Del("id_token_hint")
	x.signedIn(clientID, "alice")
	form := values("confirmation", confirmation(t, x.ask(link)), "answer", answerSignOut)
	page := readAll(t, x.postForm(endSession+confirmSuffix, issuer, form).Body)
	if got := outcome(t, x.once(x.next(page))); got != "to "+phish {
		t.Errorf("the user wants it: %s", got)
	}
	if got := outcome(t, x.postForm(endSession+confirmSuffix, issuer, form)); got != "to "+phish {
		t.Errorf("the user wants it, and reloads: %s", got)
	}
}
