package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	oidcsession "github.com/oidc-session/caddy-oidc-session"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// manyNotices is how many notices are under way when a server ends, or begins anew.
const manyNotices = 400

// A crowd is the endpoints of many clients, which say 200 after a short while.
type crowd struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	notified map[string][]time.Time // by client, when it was answered
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, notified: make(map[string][]time.Time)}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || strings.Count(r.PostForm.Get("logout_token"), ".") != 2 {
		c.t.Errorf("a request without a token: %v", err)
	}
	time.Sleep(20 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	client := strings.TrimPrefix(r.URL.Path, "/")
	c.notified[client] = append(c.notified[client], time.Now())
}

// clients is how many have been notified.
func (c *crowd) clients() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.notified)
}

// await waits until so many clients have been notified.
func (c *crowd) await(clients int) {
	c.t.Helper()
	for range 6000 {
		if c.clients() >= clients {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("not all of %d clients are notified", clients)
}

// repeated lists the clients that were notified more often than once, with the time of the first.
func (c *crowd) repeated() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	repeated := make(map[string]time.Time)
	for client, times := range c.notified {
		if len(times) > 1 {
			repeated[client] = times[0]
		}
	}
	return repeated
}

// openFile opens the registry that the store file at a path has.
func openFile(path string) *registry.Registry {
	return registry.Open(&oidcsession.FileStore{Path: path}, func([]*registry.Session) {}, zap.NewNop())
}

// owing fills a registry's file with a crowd's notices, and returns a Caddyfile of the site that owes them.
func (c *crowd) owing(s site, op *scriptedOP) (caddyfile string, ids map[string]registry.NoticeID) {
	c.t.Helper()
	dir := c.t.TempDir()
	file, clients := filepath.Join(dir, "registry.db"), filepath.Join(dir, "clients.json")
	before := clock.Now
	clock.Now = func() time.Time { return before().Add(-registry.Lease - time.Second) } // nobody has the lease any more
	defer func() { clock.Now = before }()
	store := openFile(file)
	ids = make(map[string]registry.NoticeID)
	var list []map[string]string
	for n := 0; n < manyNotices; n += 200 {
		browser := sessionstate.NewBrowserID()
		session := registry.NewSessionID(s.issuer, browser)
		var joins sync.WaitGroup
		for i := n; i < n+200; i++ {
			client := fmt.Sprintf("client-%d", i)
			list = append(list, map[string]string{"client_id": client, "backchannel_logout_uri": c.server.URL + "/" + client})
			ids[client] = registry.NameNotice(session, client, "alice", "1")
			joins.Go(func() {
				_, err := store.Join(c.t.Context(), registry.Join{
					Issuer: s.issuer, Browser: browser, Session: session, ClientID: client,
					Sub: "alice", Sid: "1", AcrossClients: true, Lifetime: time.Hour, Notify: true,
				})
				if err != nil {
					c.t.Error(err)
				}
			})
		}
		joins.Wait()
		ended, err := store.End(c.t.Context(), registry.Ending{Place: registry.PlaceOf(s.issuer, browser), Reason: registry.ReasonLogout})
		if err != nil || len(ended) != 1 {
			c.t.Fatalf("%d sessions ended: %v", len(ended), err)
		}
	}
	// The clients have verified ID tokens, by the OP's keys.
	if err := store.Note(c.t.Context(), s.issuer, registry.Facts{Kid: registry.At(time.Now())}); err != nil {
		c.t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		c.t.Fatal(err)
	}
	document, err := json.Marshal(list)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(clients, document, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return s.caddyfile("oidc_session {\n\t\tkey \""+testKey+"\"\n\t\tstore file "+file+"\n\t}",
		"oidc_session {\n\t\tissuer ISSUER\n\t\tclients_file "+clients+"\n\t\tbackchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t}\n\t}\n\t"+op.proxy()), ids
}

// Delivery is at least once: what was answered within the last 50 ms, and is not written yet, may come again, under the same ID.
func TestNoNoticeIsLostWhenTheServerIsKilled(t *testing.T) {
	site := newSite(t)
	op, c := newScriptedOP(t, site.issuer), newCrowd(t)
	caddyfile, ids := c.owing(site, op)
	b := newBrowser(t)
	first := startCaddy(t, caddyfile)
	b.get(site.issuer + "/jwks") // where the OP's keys are is discovered with the first request
	c.await(2 * manyNotices / 3) // the first of them long before
	first.kill(t)
	killed := time.Now()
	before := c.clients()
	second := startCaddy(t, caddyfile, laterVariable+"="+(registry.Lease+time.Second).String())
	b.get(site.issuer + "/jwks")
	c.await(manyNotices)
	if before == manyNotices {
		t.Fatal("all were notified before the server was killed")
	}
	repeated := c.repeated()
	for client, at := range repeated {
		if early := killed.Sub(at); early > 50*time.Millisecond+slack {
			t.Errorf("%s was notified again, though it was %s before the end", client, early)
		}
		second.log.expect(t, ids[client].String())
	}
	t.Logf("%d notified before the end, %d of them again", before, len(repeated))
}

// slack is for the write that was under way, on a slow disk and a busy machine. The first answers
// are further from the end than that.
const slack = time.Second

func TestAReloadInTheMiddleLosesNoNoticeAndRepeatsNone(t *testing.T) {
	site := newSite(t)
	op, c := newScriptedOP(t, site.issuer), newCrowd(t)
	caddyfile, _ := c.owing(site, op)
	storage := t.TempDir()
	runCaddy(t, storage, caddyfile)
	b := newBrowser(t)
	for n := range 3 {
		b.get(site.issuer + "/jwks") // where the OP's keys are is discovered with the first request
		c.await((n + 1) * manyNotices / 5)
		loadCaddy(t, storage, caddyfile)
	}
	b.get(site.issuer + "/jwks")
	c.await(manyNotices)
	if repeated := c.repeated(); len(repeated) > 0 {
		t.Errorf("notified again: %v", repeated)
	}
}
