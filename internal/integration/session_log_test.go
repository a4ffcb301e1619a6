package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// lines are what the log has of some messages, in its order.
func (l *textLog) lines(t *testing.T, messages ...string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if message, _ := entry["msg"].(string); slices.Contains(messages, message) {
			found = append(found, entry)
		}
	}
	return found
}

// sessionLines are the lines about sessions: what happened, where or why, the user.
func (l *textLog) sessionLines(t *testing.T) (found []string) {
	t.Helper()
	for _, entry := range l.lines(t, "session started", "user signed in", "session ended") {
		if entry["level"] != "info" || entry["session"] == "" || entry["issuer"] == "" {
			t.Errorf("logged %v", entry)
		}
		text := entry["msg"].(string)
		for _, field := range []string{"client_id", "reason", "subject"} {
			if value, is := entry[field]; is {
				text += fmt.Sprintf(", %s", value)
			}
		}
		found = append(found, text)
	}
	return found
}

func TestTheLogHasTheStartAndTheEndOfASession(t *testing.T) {
	ring, err := sessionstate.NewKeyring([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string][]string{
		"": {"session started, shop", "session ended, login_cookie"},
		"log_subject": {
			"session started, shop", "user signed in, shop, ALICE", "user signed in, wiki, ALICE",
			"session ended, login_cookie, ALICE",
		},
	} {
		t.Run("with "+option, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			log := runLogged(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tkey \""+testKey+"\"\n\t}",
				"oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\t"+option+"\n\t}\n\t"+op.proxy()))
			b := newBrowser(t)
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			b.redeem(site, b.authorize(site, "wiki", "", nil))
			b.redeem(site, b.authorize(site, "wiki", "", nil)) // is no news
			b.signOut(site, op)
			alice := ring.Pseudonym(site.issuer, "alice")
			got := strings.ReplaceAll(strings.Join(log.sessionLines(t), "\n"), alice, "ALICE")
			if got != strings.Join(want, "\n") {
				t.Errorf("logged\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
			if log.has("alice") {
				t.Error("the log has the sub itself")
			}
		})
	}
}

func TestTheLogHasWhoTookASessionOver(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t\tlog_subject\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	b.redeem(site, b.authorize(site, "shop", "bob", map[string][]string{"prompt": {"login"}}))
	lines := log.lines(t, "session started", "user signed in", "session ended")
	var said []string
	for _, line := range lines {
		said = append(said, line["msg"].(string))
	}
	if want := []string{"session started", "user signed in", "session ended", "session started"}; !slices.Equal(said, want) {
		t.Fatalf("logged %q", said)
	}
	first, alice, ended, second := lines[0], lines[1], lines[2], lines[3]
	if ended["session"] != first["session"] || ended["successor"] != second["session"] || ended["reason"] != "user_switch" {
		t.Errorf("ended is %v", ended)
	}
	if ended["subject"] != alice["subject"] || second["subject"] == alice["subject"] || second["subject"] == nil {
		t.Errorf("alice is %v, then %v; bob is %v", alice["subject"], ended["subject"], second["subject"])
	}
}

// The registry records it as one that was over when the next user's started.
func TestTheLogHasASessionWhoseCodeComesLate(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	alices := b.authorize(site, "shop", "alice", nil)
	clock.advance(time.Second)
	b.redeem(site, b.authorize(site, "shop", "bob", map[string][]string{"prompt": {"login"}}))
	b.redeem(site, alices)
	if got := strings.Join(log.sessionLines(t), "; "); got != "session started, shop; session ended, user_switch; session started, shop" {
		t.Errorf("logged %s", got)
	}
}

func TestTheLogHasTheSessionsThatAnOperatorEnds(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t\tlog_subject\n\t}\n\trespond /session {http.oidc_session.id}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	id := b.get(site.issuer + "/session").body
	if status, body := operate(t, http.MethodDelete, id, site.issuer); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	ended, signedIn := log.lines(t, "session ended"), log.lines(t, "user signed in")
	if len(ended) != 1 || len(signedIn) != 1 || ended[0]["session"] != id || ended[0]["reason"] != "operator" || ended[0]["subject"] != signedIn[0]["subject"] {
		t.Errorf("logged %v, %v", signedIn, ended)
	}
}

// Without the registry a session is in the browser's cookies alone.
func TestTheLogHasASessionThatNoRegistryKnows(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	storage := t.TempDir()
	log := runLogged(t, storage, site.caddyfile("oidc_session {\n\t\tstore file "+storage+"\n\t}", // which is no file
		"oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.authorize(site, "shop", "alice", nil)
	b.authorize(site, "wiki", "", nil)
	b.signOut(site, op)
	started, ended := log.lines(t, "session started"), log.lines(t, "session ended", "session end not recorded")
	if len(started) != 1 || len(ended) != 1 || ended[0]["session"] != started[0]["session"] || ended[0]["level"] != "error" {
		t.Errorf("logged %v, %v", started, ended)
	}
}
