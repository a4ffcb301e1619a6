package oidcsession

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// operate sends a request to the admin API's handler, and returns the status that Caddy would answer with.
func operate(t *testing.T, method, id, issuer string) (int, string) {
	t.Helper()
	a := new(AdminAPI)
	if err := a.Provision(caddy.ActiveContext()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, sessionsPath+id+"?"+url.Values{"issuer": {issuer}}.Encode(), nil)
	var refused caddy.APIError
	if err := a.Routes()[0].Handler.ServeHTTP(w, r); errors.As(err, &refused) {
		return refused.HTTPStatus, err.Error()
	} else if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Body.String()
}

func TestAnOperatorEndsASession(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop := newReceiver(t, site, "shop")
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop)+"respond /session {http.oidc_session.id}\n\t"+op.proxy()))
	b := newBrowser(t)
	a := b.authorize(site, "shop", "alice", nil)
	b.redeem(site, a)
	id := b.get(site.issuer + "/session").body
	for name, tt := range map[string]struct {
		method, id, issuer string
		want               int
	}{
		"another method":         {"GET", id, site.issuer, http.StatusMethodNotAllowed},
		"no issuer":              {"DELETE", id, "", http.StatusBadRequest},
		"another issuer":         {"DELETE", id, site.issuer + "/x", http.StatusNotFound},
		"no ID":                  {"DELETE", "", site.issuer, http.StatusBadRequest},
		"half an ID":             {"DELETE", id[:8], site.issuer, http.StatusBadRequest},
		"an ID that is not used": {"DELETE", strings.Repeat("A", 22), site.issuer, http.StatusNotFound},
	} {
		if got, body := operate(t, tt.method, tt.id, tt.issuer); got != tt.want {
			t.Errorf("%s: %d %s", name, got, body)
		}
	}
	if got := b.ask(site, a); got != "unchanged" {
		t.Fatalf("the server says %s", got)
	}
	for _, want := range []string{id, ""} {
		status, body := operate(t, "DELETE", id, site.issuer)
		var answer struct{ Ended []string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || strings.Join(answer.Ended, " ") != want {
			t.Errorf("got %d %s", status, body)
		}
	}
	if got := b.ask(site, a); got != "changed" {
		t.Errorf("the server says %s", got)
	}
	if told := shop.told(1); told[0].Sub != "alice" {
		t.Errorf("told %+v", told)
	}
}

func TestWithoutTheAppThereIsNothingToOperateOn(t *testing.T) {
	runCaddy(t, t.TempDir(), newSite(t).caddyfile("", "respond ok"))
	if got, _ := operate(t, "DELETE", strings.Repeat("A", 22), "https://op.example.com"); got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
}

func TestAnOperatorEndsAllSessionsOfTheBrowser(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t}\n\trespond /session {http.oidc_session.id}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	id := b.get(site.issuer + "/session").body
	loaded, err := caddy.ActiveContext().AppIfConfigured("oidc_session")
	if err != nil {
		t.Fatal(err)
	}
	store := loaded.(*App).registry
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := store.Session(t.Context(), site.issuer, sessionstate.SessionID(raw))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // with more clients than end at once
		other := sessionstate.NewSessionID()
		for client := range 130 {
			_, err := store.Join(t.Context(), registry.Join{
				Issuer: site.issuer, Browser: session.Browser, Session: other, Fresh: sessionstate.NewSessionID(),
				ClientID: fmt.Sprint("client ", client), Now: now(), Lifetime: time.Hour,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	status, body := operate(t, "DELETE", id, site.issuer)
	var answer struct{ Ended []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Ended) != 4 {
		t.Errorf("got %d %s", status, body)
	}
}
