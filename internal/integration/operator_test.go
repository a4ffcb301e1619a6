package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	oidcsession "github.com/oidc-session/caddy-oidc-session"
	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The paths of the admin API.
const (
	sessionsPath = "/oidc_session/sessions"
	noticesPath  = "/oidc_session/notices"
)

// operatorSession and operatorNotice are what the admin API shows.
type (
	operatorSession struct {
		ID                      string
		Created, Expires, Ended time.Time
		Reason                  registry.Reason
		Clients                 []string
	}
	operatorNotice struct {
		ClientID string `json:"client_id"`
		Reason   registry.Reason
		Due      time.Time
		Attempts int
		GivenUp  bool `json:"given_up"`
		Why      string
	}
)

// operate sends a request about a session to the admin API, and returns the status that Caddy would answer with.
func operate(t *testing.T, method, id, issuer string) (int, string) {
	t.Helper()
	return administer(t, method, sessionsPath+"/", id+"?"+url.Values{"issuer": {issuer}}.Encode())
}

// administer sends a request to the handler of one of the admin API's patterns.
func administer(t *testing.T, method, pattern, rest string) (int, string) {
	t.Helper()
	a := new(oidcsession.AdminAPI)
	for _, route := range a.Routes() {
		if route.Pattern != pattern {
			continue
		}
		w := httptest.NewRecorder()
		var refused caddy.APIError
		if err := route.Handler.ServeHTTP(w, httptest.NewRequest(method, pattern+rest, nil)); errors.As(err, &refused) {
			return refused.HTTPStatus, err.Error()
		} else if err != nil {
			t.Fatal(err)
		}
		return w.Code, w.Body.String()
	}
	t.Fatalf("there is no %s", pattern)
	return 0, ""
}

// notices are those that the admin API lists for an issuer.
func notices(t *testing.T, issuer string) []operatorNotice {
	t.Helper()
	status, body := administer(t, http.MethodGet, noticesPath, "?issuer="+url.QueryEscape(issuer))
	var answer struct {
		Notices []operatorNotice
		Next    string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Next != "" {
		t.Fatalf("%d %s", status, body)
	}
	return answer.Notices
}

// awaitEnd waits until all sessions of a user have ended.
func awaitEnd(t *testing.T, s site, sub string) {
	t.Helper()
	eventually(t, "the sessions of "+sub+" have ended", func() bool {
		sessions, _ := listed(t, ofUser(s, sub))
		return !slices.ContainsFunc(sessions, func(s operatorSession) bool { return s.Ended.IsZero() })
	})
}

// awaitOutcome waits until the outcome of a try is recorded: when the next one is due.
func awaitOutcome(t *testing.T, s site) {
	t.Helper()
	eventually(t, "a try is recorded", func() bool {
		return slices.ContainsFunc(notices(t, s.issuer), func(n operatorNotice) bool { return n.Attempts > 0 })
	})
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so within a minute: %s", what)
		}
	}
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
	if got := shop.notified(1); got[0].Sub != "alice" {
		t.Errorf("notified %+v", got)
	}
}

func TestWithoutTheAppThereIsNothingToOperateOn(t *testing.T) {
	runCaddy(t, t.TempDir(), newSite(t).caddyfile("", "respond ok"))
	if got, _ := operate(t, "DELETE", strings.Repeat("A", 22), "https://op.example.com"); got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
	if got, _ := administer(t, "GET", noticesPath, "?issuer=https://op.example.com"); got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
}

func TestAnOperatorSeesWhoHasNotBeenNotified(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop, wiki := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki")
	shop.answers(http.StatusBadRequest)
	wiki.answers(http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable)
	runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore memory\n\t}", withReceivers("", shop, wiki)+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	b.redeem(site, b.authorize(site, "wiki", "", nil))
	for rest, want := range map[string]int{"": http.StatusBadRequest, "?issuer=x&after=zz": http.StatusBadRequest, "?issuer=x&after=00": http.StatusBadRequest} {
		if got, body := administer(t, "GET", noticesPath, rest); got != want {
			t.Errorf("%s: %d %s", rest, got, body)
		}
	}
	if got, _ := administer(t, "POST", noticesPath, "?issuer="+site.issuer); got != http.StatusMethodNotAllowed {
		t.Errorf("another method: %d", got)
	}
	b.get(site.issuer + "/logout")
	shop.tried(1)
	wiki.tried(1)
	var listed []operatorNotice
	eventually(t, "both notices are tried", func() bool {
		listed = notices(t, site.issuer)
		return len(listed) == 2 && listed[0].Attempts > 0 && listed[1].Attempts > 0
	})
	for _, n := range listed {
		refused := n.ClientID == "shop"
		if n.GivenUp != refused || n.Due.IsZero() != refused || n.Why == "" || n.Reason != registry.ReasonLoginCookie {
			t.Errorf("listed is %+v", n)
		}
	}
	if _, body := administer(t, "GET", noticesPath, "?issuer="+url.QueryEscape(site.issuer)); strings.Contains(body, "alice") {
		t.Errorf("the answer names the user: %s", body)
	}
}

func TestAnOperatorEndsAllSessionsOfTheBrowser(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t}\n\trespond /session {http.oidc_session.id}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	id := b.get(site.issuer + "/session").body
	status, body := operate(t, "DELETE", id, site.issuer)
	var answer struct{ Ended []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Ended) != 1 {
		t.Errorf("got %d %s", status, body)
	}
	recorded, _ := listed(t, ofUser(site, "alice"))
	if len(recorded) != 1 || recorded[0].Reason != registry.ReasonOperator {
		t.Errorf("recorded: %v", recorded)
	}
}

// The endpoint starts before the sites, and finds the app that only their directive has loaded.
func TestTheAdminEndpointNeedsNoGlobalBlock(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	admin := fmt.Sprintf("127.0.0.1:%d", freeport.Hold(t))
	ask := func() (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+noticesPath+"?issuer="+url.QueryEscape(site.issuer), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	load := func(directives string) {
		config := configWith(t, t.TempDir(), site.caddyfile("", directives), "admin",
			map[string]any{"listen": admin, "config": map[string]any{"persist": false}})
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
	}
	stopAtEnd(t)
	load("respond ok")
	if status, body := ask(); status != http.StatusNotFound || !strings.Contains(body, "oidc_session is not configured") {
		t.Errorf("without the directive: %d %s", status, body)
	}
	load("oidc_session\n\t" + op.proxy())
	if status, body := ask(); status != http.StatusOK || !strings.Contains(body, `"notices":[]`) {
		t.Errorf("with the directive alone: %d %s", status, body)
	}
}
