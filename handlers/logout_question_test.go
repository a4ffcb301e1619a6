package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What the user answered counts in the browser and the session that were asked, once, for ten minutes, and from our own page.
func TestNothingStandsInForTheUsersOwnAnswer(t *testing.T) {
	tests := map[string]func(x *exit, value string) *http.Response{
		"an answer of eleven minutes later": func(x *exit, value string) *http.Response {
			x.w.clock.advance(11 * time.Minute)
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
		},
		"an answer from another site's page": func(x *exit, value string) *http.Response {
			return x.postForm(endSession+confirmSuffix, "https://evil.example", values("confirmation", value, "answer", answerSignOut))
		},
		"an answer from another site's page that hides its origin": func(x *exit, value string) *http.Response {
			return x.postForm(endSession+confirmSuffix, "null", values("confirmation", value, "answer", answerSignOut))
		},
		"an answer in the URL": func(x *exit, value string) *http.Response {
			return x.do(httptest.NewRequest(http.MethodGet, issuer+endSession+confirmSuffix+"?"+values("confirmation", value, "answer", answerSignOut).Encode(), nil))
		},
		"an answer at the endpoint itself": func(x *exit, value string) *http.Response {
			return x.postForm(endSession, issuer, values("confirmation", value, "answer", answerSignOut))
		},
		"the answer to another browser's question": func(x *exit, _ string) *http.Response {
			other := newExit(x.t)
			other.signedIn(clientID, "mallory")
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", confirmation(x.t, other.ask(nil)), "answer", answerSignOut))
		},
		"an answer for the session before": func(x *exit, value string) *http.Response {
			x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
			x.logouts.Store(0)
			x.signedIn(clientID, "alice")
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
		},
		"an answer that was given before": func(x *exit, value string) *http.Response {
			x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerStay))
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
		},
		"no confirmation": func(x *exit, _ string) *http.Response {
			return x.postForm(endSession+confirmSuffix, issuer, values("answer", answerSignOut))
		},
		"a session cookie for a confirmation": func(x *exit, _ string) *http.Response {
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", x.cookies[x.w.op.cookies.session], "answer", answerSignOut))
		},
		"a parameter that says confirmed": func(x *exit, _ string) *http.Response {
			return x.ask(values("confirmed", "true", "confirm", "1", "answer", answerSignOut, "prompt", "none", "client_id", clientID))
		},
		"an answer that is neither yes nor no": func(x *exit, value string) *http.Response {
			return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", "maybe"))
		},
	}
	for name, attempt := range tests {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			got := attempt(x, confirmation(t, x.ask(nil)))
			if location := got.Header.Get("Location"); location != "" {
				t.Errorf("it redirects to %s", location)
			}
			if confirmation(t, got) == "" {
				t.Error("the user is not asked again")
			}
			x.mustBe(true)
			if x.logouts.Load() != 0 {
				t.Error("the OP was asked")
			}
		})
	}
}

func TestAnAnswerGivenTwiceAtOnceIsNoError(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	value := confirmation(t, x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye)))
	for range 2 { // a double click: the second finds nobody signed in
		got := x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
		if outcome := outcome(t, got); outcome != "to "+bye {
			t.Errorf("got %s", outcome)
		}
	}
	if x.logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.logouts.Load())
	}
}

func TestAnAnswerCountsWhileTheRegistryIsAway(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	up := x.w.down()
	x.setUp()
	if got := outcome(t, x.answer(x.ask(nil), answerSignOut)); got != "signed out" {
		t.Errorf("got %s", got)
	}
	up()
	if len(x.openS().owed.ids()) != 1 {
		t.Error("the end of the session is not owed to the registry")
	}
}

func TestAParkedRequestGoesOnForTenMinutes(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	r := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye).Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	lax := x.cookies["login"]
	delete(x.cookies, "login") // it does not come with such a POST
	parked := x.once(r)
	location := parked.Header.Get("Location")
	if parked.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, endSession+"?request=") || strings.Contains(location, "eyJ") {
		t.Fatalf("got %s to %s", parked.Status, location)
	}
	x.cookies["login"] = lax
	x.mustBe(true)
	again := x.once(httptest.NewRequest(http.MethodGet, issuer+location, nil))
	if got := outcome(t, again); got != "to "+bye {
		t.Errorf("got %s", got)
	}
	x.signedIn(clientID, "alice")
	x.w.clock.advance(10 * time.Minute)
	if late := x.once(httptest.NewRequest(http.MethodGet, issuer+location, nil)); late.StatusCode != http.StatusBadRequest {
		t.Errorf("ten minutes later: %s", late.Status)
	}
	forged := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?request="+url.QueryEscape(x.cookies[x.w.op.cookies.session]), nil))
	if forged.StatusCode != http.StatusBadRequest {
		t.Errorf("something else that is sealed: %s", forged.Status)
	}
	x.mustBe(true)
}

func TestPagesAreInTheUsersLanguage(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?ui_locales=xx+fr-CA+de", nil)
	r.Header.Set("Accept-Language", "es")
	if page := x.do(r); page.Header.Get("Content-Language") != "fr" || !strings.Contains(readAll(t, page.Body), "déconnecter") {
		t.Errorf("the language is %q", page.Header.Get("Content-Language"))
	}
	r = httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	r.Header.Set("Accept-Language", "tlh, de-AT;q=0.9, en;q=0.5")
	if page := x.do(r); page.Header.Get("Content-Language") != "de" {
		t.Errorf("the language is %q", page.Header.Get("Content-Language"))
	}
}
