package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
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
			if got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" || strings.Contains(body, "evil") || strings.Contains(body, "alert") {
				t.Errorf("%q: %s to %q: %s", target, got.Status, got.Header.Get("Location"), body)
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
