package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// ofUser is the query of a user's sessions.
func ofUser(s site, sub string) string {
	return "?" + url.Values{"issuer": {s.issuer}, "sub": {sub}}.Encode()
}

// listed returns the sessions of one page, and what the query of the next has more; empty: there is none.
func listed(t *testing.T, query string) (sessions []operatorSession, next string) {
	t.Helper()
	status, body := administer(t, http.MethodGet, sessionsPath, query)
	var answer struct {
		Sessions []operatorSession
		Next     string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Sessions == nil {
		t.Fatalf("%s: %d %s (%v)", query, status, body, err)
	}
	if answer.Next != "" {
		next = "&after=" + answer.Next
	}
	return answer.Sessions, next
}

// endAll ends a user's sessions, and returns their IDs.
func endAll(t *testing.T, query string) []string {
	t.Helper()
	status, body := administer(t, http.MethodDelete, sessionsPath, query)
	var answer struct{ Ended []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Ended == nil {
		t.Fatalf("%s: %d %s (%v)", query, status, body, err)
	}
	return answer.Ended
}

func TestAnOperatorEndsAllSessionsOfAUser(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop, wiki := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki")
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop, wiki)+op.proxy()))
	laptop, phone, bobs := newBrowser(t), newBrowser(t), newBrowser(t)
	atShop, atWiki := laptop.signIn(site, "shop", "alice", nil), laptop.signIn(site, "wiki", "", nil)
	onPhone := phone.signIn(site, "shop", "alice", nil)
	ofBob := bobs.signIn(site, "shop", "bob", nil)

	for name, tt := range map[string]struct {
		method, query string
		want          int
		says          string
	}{
		"another method":        {"POST", ofUser(site, "alice"), http.StatusMethodNotAllowed, "method not allowed: POST"},
		"no issuer, to list":    {"GET", "?sub=alice", http.StatusBadRequest, "the parameter issuer is missing"},
		"no issuer, to end":     {"DELETE", "?sub=alice", http.StatusBadRequest, "the parameter issuer is missing"},
		"no user, to list":      {"GET", "?issuer=" + url.QueryEscape(site.issuer), http.StatusBadRequest, "the parameter sub is missing"},
		"no user, to end":       {"DELETE", "?issuer=" + url.QueryEscape(site.issuer), http.StatusBadRequest, "the parameter sub is missing"},
		"after, not as it was":  {"GET", ofUser(site, "alice") + "&after=!", http.StatusBadRequest, "the parameter after must be the next of an earlier answer"},
		"after, of any length":  {"GET", ofUser(site, "alice") + "&after=" + strings.Repeat("A", 100), http.StatusBadRequest, "the next of an earlier answer"},
		"nobody, to list":       {"GET", ofUser(site, "nobody"), http.StatusOK, `{"sessions":[]}`},
		"nobody, to end":        {"DELETE", ofUser(site, "nobody"), http.StatusOK, `{"ended":[]}`},
		"another issuer's user": {"DELETE", "?sub=alice&issuer=https://other.example", http.StatusOK, `{"ended":[]}`},
	} {
		if got, body := administer(t, tt.method, sessionsPath, tt.query); got != tt.want || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s", name, got, body)
		}
	}
	laptop.expect(site, "before", "unchanged", atShop, atWiki, onPhone, ofBob)

	sessions, next := listed(t, ofUser(site, "alice"))
	if len(sessions) != 2 || next != "" || len(sessions[0].Clients)+len(sessions[1].Clients) != 3 {
		t.Errorf("listed are %+v, then %q", sessions, next)
	}
	var ids []string
	for _, s := range sessions {
		if s.Created.IsZero() || !s.Expires.After(s.Created) || !s.Ended.IsZero() || s.Reason != "" {
			t.Errorf("listed is %+v", s)
		}
		ids = append(ids, s.ID)
	}
	ended := endAll(t, ofUser(site, "alice"))
	slices.Sort(ended)
	slices.Sort(ids)
	if !slices.Equal(ended, ids) {
		t.Errorf("ended are %v, not %v", ended, ids)
	}
	laptop.expect(site, "after the end", "changed", atShop, atWiki, onPhone)
	bobs.expect(site, "after the end of alice's", "unchanged", ofBob)
	for _, got := range append(shop.notified(2), wiki.notified(1)...) {
		if got.Sub != "alice" {
			t.Errorf("notified of %+v", got)
		}
	}
	if again := endAll(t, ofUser(site, "alice")); len(again) != 0 {
		t.Errorf("ended again are %v", again)
	}
	sessions, _ = listed(t, ofUser(site, "alice"))
	for _, s := range sessions {
		if s.Ended.IsZero() || s.Reason != registry.ReasonOperator {
			t.Errorf("listed is %+v", s)
		}
	}
	if sessions, _ := listed(t, ofUser(site, "bob")); len(sessions) != 1 || !sessions[0].Ended.IsZero() {
		t.Errorf("of bob are listed %+v", sessions)
	}
}

// A hundred sessions of a user live at most, and those of the last minutes are listed as well.
func TestSessionsOfAUserAreListedByPages(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	file := filepath.Join(t.TempDir(), "registry.db")
	store := openFile(file)
	const browsers = 2*100 + 1
	for range browsers {
		_, err := store.Join(t.Context(), registry.Join{
			Issuer: site.issuer, Browser: sessionstate.NewBrowserID(), ClientID: "shop", Sub: "alice", Lifetime: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", "oidc_session\n\t"+op.proxy()))
	seen, live := make(map[string]bool), make(map[string]bool)
	var pages []int
	for page, next := listed(t, ofUser(site, "alice")); ; page, next = listed(t, ofUser(site, "alice")+next) {
		pages = append(pages, len(page))
		for _, s := range page {
			if seen[s.ID] = true; s.Ended.IsZero() {
				live[s.ID] = true
			}
		}
		if next == "" {
			break
		}
	}
	if !slices.Equal(pages, []int{100, 100, 1}) || len(seen) != browsers || len(live) != registry.MaxUserSessions {
		t.Errorf("the pages have %v sessions, %d different ones, of which %d live", pages, len(seen), len(live))
	}
	ended := endAll(t, ofUser(site, "alice"))
	for _, id := range ended {
		delete(live, id)
	}
	if len(ended) != registry.MaxUserSessions || len(live) != 0 {
		t.Errorf("%d sessions ended, and %d that were listed did not", len(ended), len(live))
	}
}
