package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
)

// A postbox takes the notices of clients by back channel, each at a path of its own.
type postbox struct {
	*httptest.Server

	mu      sync.Mutex
	notices map[string]int // by client and user
}

func newPostbox(t *testing.T) *postbox {
	b := &postbox{notices: make(map[string]int)}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *postbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var token struct {
		Audience string `json:"aud"`
		Sub      string `json:"sub"`
	}
	_, payload, _ := strings.Cut(r.PostFormValue("logout_token"), ".")
	payload, _, _ = strings.Cut(payload, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(raw, &token) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notices[token.Audience+" of "+token.Sub]++
}

func (b *postbox) snapshot() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.notices)
}

// operate asks the admin endpoint for a user's sessions, or ends them, and reads the answer.
func (s *site) operate(t *testing.T, method, issuer, sub string, answer any) {
	t.Helper()
	target := "http://" + s.admin + "/oidc_session/sessions?" + url.Values{"issuer": {issuer}, "sub": {sub}}.Encode()
	response, body, err := send(http.DefaultClient, method, target, nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s (%v)", method, body, err)
	}
	if err := json.Unmarshal([]byte(body), answer); err != nil {
		t.Fatal(err)
	}
}

// An operator lists alice's sessions and ends them: both of her browsers and all clients notice,
// and bob does not.
func TestAnOperatorEndsAllSessionsOfAUser(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	clients := []string{"shop", "a", "b", "c", "d"} // all but the shop are apps at its host
	box := newPostbox(t)
	op := scriptedProvider
	op.options += "\n\t\tbackchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t}\n\t\t"
	s, host := newSite(t), op.host(crossSite)
	s.admin = fmt.Sprintf("127.0.0.1:%d", freeport.Hold(t))
	for _, id := range clients {
		s.clients[id] = shopHost
		op.options += client(id, "App "+id, "backchannel_logout_uri "+box.URL)
	}
	s.addOP(t, host, op)
	s.start(t)
	signIn := func(user string, clients ...string) (pages []*tab) {
		c := &cell{op: op, site: s, browser: startBrowser(t, blocked), host: host}
		for i, id := range clients {
			page := c.open(t, shopHost, "&client="+id)
			c.signIn(t, page, user, i == 0)
			page.waitFor(t, "replies.unchanged > 0")
			pages = append(pages, page)
		}
		return pages
	}
	alices := append(signIn("alice", clients...), signIn("alice", "shop", "a")...)
	bobs := signIn("bob", "shop", "a")

	var listed struct {
		Sessions []struct {
			ID      string
			Clients []string
		}
		Next string
	}
	s.operate(t, http.MethodGet, s.url(host, ""), "alice", &listed)
	var ids []string
	found := 0
	for _, session := range listed.Sessions {
		ids = append(ids, session.ID)
		found += len(session.Clients)
	}
	if len(ids) != 2 || found != len(clients)+2 || listed.Next != "" {
		t.Errorf("listed are %+v", listed)
	}
	var ended struct{ Ended []string }
	s.operate(t, http.MethodDelete, s.url(host, ""), "alice", &ended)
	if slices.Sort(ids); !slices.Equal(slices.Sorted(slices.Values(ended.Ended)), ids) {
		t.Errorf("ended are %q, not %q", ended.Ended, ids)
	}

	for i, page := range alices {
		if got := event(t, page); got != "signed out" {
			t.Errorf("page %d of alice: the events are %q", i, got)
		}
	}
	want := map[string]int{"shop of alice": 2, "a of alice": 2, "b of alice": 1, "c of alice": 1, "d of alice": 1}
	for deadline := time.Now().Add(waitLimit); !maps.Equal(box.snapshot(), want) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	for _, page := range bobs {
		expectUnchanged(t, page, replies(t, page, "unchanged")+3)
	}
	if got := box.snapshot(); !maps.Equal(got, want) {
		t.Errorf("notified were %s, not %s", fmt.Sprint(got), fmt.Sprint(want))
	}
}
