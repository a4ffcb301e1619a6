package logout_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// What the user answered counts in the browser and the session that were asked, once, for ten
// minutes, and from our own page.
func TestNothingStandsInForTheUsersOwnAnswer(t *testing.T) {
	tests := map[string]func(x *handlerstest.Exit, value string) *http.Response{
		"an answer of eleven minutes later": func(x *handlerstest.Exit, value string) *http.Response {
			x.W.Clock.Advance(11 * time.Minute)
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"an answer from another site's page": func(x *handlerstest.Exit, value string) *http.Response {
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, "https://evil.example", handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"an answer from another site's page that hides its origin": func(x *handlerstest.Exit, value string) *http.Response {
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, "null", handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"an answer in the URL": func(x *handlerstest.Exit, value string) *http.Response {
			return x.Do(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+handlers.ConfirmSuffix+"?"+handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut).Encode(), nil))
		},
		"an answer at the endpoint itself": func(x *handlerstest.Exit, value string) *http.Response {
			return x.PostForm(handlerstest.EndSession, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"the answer to another browser's question": func(x *handlerstest.Exit, _ string) *http.Response {
			other := handlerstest.NewExit(x.T)
			other.SignedIn(handlerstest.ClientID, "mallory")
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", handlerstest.Confirmation(x.T, other.Ask(nil)), "answer", logout.AnswerSignOut))
		},
		"an answer for the session before": func(x *handlerstest.Exit, value string) *http.Response {
			x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
			x.Logouts.Store(0)
			x.SignedIn(handlerstest.ClientID, "alice")
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"an answer that was given before": func(x *handlerstest.Exit, value string) *http.Response {
			x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerStay))
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		},
		"no confirmation": func(x *handlerstest.Exit, _ string) *http.Response {
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("answer", logout.AnswerSignOut))
		},
		"a session cookie for a confirmation": func(x *handlerstest.Exit, _ string) *http.Response {
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", x.Cookies[x.W.OP.Cookies.Session], "answer", logout.AnswerSignOut))
		},
		"a parameter that says confirmed": func(x *handlerstest.Exit, _ string) *http.Response {
			return x.Ask(handlerstest.Values("confirmed", "true", "confirm", "1", "answer", logout.AnswerSignOut, "prompt", "none", "client_id", handlerstest.ClientID))
		},
		"an answer that is neither yes nor no": func(x *handlerstest.Exit, value string) *http.Response {
			return x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", "maybe"))
		},
	}
	for name, attempt := range tests {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			got := attempt(x, handlerstest.Confirmation(t, x.Ask(nil)))
			if location := got.Header.Get("Location"); location != "" {
				t.Errorf("it redirects to %s", location)
			}
			if handlerstest.Confirmation(t, got) == "" {
				t.Error("the user is not asked again")
			}
			x.MustBe(true)
			if x.Logouts.Load() != 0 {
				t.Error("the OP was asked")
			}
		})
	}
}

func TestAnAnswerGivenTwiceAtOnceIsNoError(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	value := handlerstest.Confirmation(t, x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye)))
	for range 2 { // a double click: the second finds nobody signed in
		got := x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
		if outcome := handlerstest.Outcome(t, got); outcome != "to "+handlerstest.Bye {
			t.Errorf("got %s", outcome)
		}
	}
	if x.Logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
}

func TestAnAnswerCountsWhileTheRegistryIsAway(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	up := x.W.Down()
	x.SetUp()
	if got := handlerstest.Outcome(t, x.Answer(x.Ask(nil), logout.AnswerSignOut)); got != "signed out" {
		t.Errorf("got %s", got)
	}
	up()
	if len(x.OpenS().Owed.IDs()) != 1 {
		t.Error("the end of the session is not owed to the registry")
	}
}

func TestAParkedRequestGoesOnForTenMinutes(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	lax := x.Cookies["login"]
	delete(x.Cookies, "login") // it does not come with such a POST
	parked := x.Once(r)
	location := parked.Header.Get("Location")
	if parked.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, handlerstest.EndSession+"?request=") || strings.Contains(location, "eyJ") {
		t.Fatalf("got %s to %s", parked.Status, location)
	}
	x.Cookies["login"] = lax
	x.MustBe(true)
	again := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+location, nil))
	if got := handlerstest.Outcome(t, again); got != "to "+handlerstest.Bye {
		t.Errorf("got %s", got)
	}
	x.SignedIn(handlerstest.ClientID, "alice")
	x.W.Clock.Advance(10 * time.Minute)
	if late := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+location, nil)); late.StatusCode != http.StatusBadRequest {
		t.Errorf("ten minutes later: %s", late.Status)
	}
	forged := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?request="+url.QueryEscape(x.Cookies[x.W.OP.Cookies.Session]), nil))
	if forged.StatusCode != http.StatusBadRequest {
		t.Errorf("something else that is sealed: %s", forged.Status)
	}
	x.MustBe(true)
}

func TestPagesAreInTheUsersLanguage(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?ui_locales=xx+fr-CA+de", nil)
	r.Header.Set("Accept-Language", "es")
	if page := x.Do(r); page.Header.Get("Content-Language") != "fr" || !strings.Contains(reply.ReadAll(t, page.Body), "déconnecter") {
		t.Errorf("the language is %q", page.Header.Get("Content-Language"))
	}
	r = httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil)
	r.Header.Set("Accept-Language", "tlh, de-AT;q=0.9, en;q=0.5")
	if page := x.Do(r); page.Header.Get("Content-Language") != "de" {
		t.Errorf("the language is %q", page.Header.Get("Content-Language"))
	}
}
