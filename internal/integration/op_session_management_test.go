package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// tokens are the bodies of the token responses that a client gets for a code and for a refresh token.
func (b *browser) tokens(s site, a answer) (bodies [2]string) {
	b.t.Helper()
	bodies[0] = b.redeem(s, a).body
	bodies[1] = b.elsewhere().post(s.issuer+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r"}, "client_id": {a.clientID}}).body
	return bodies
}

// checkPage is what the discovery document names.
func (b *browser) checkPage(s site) string {
	b.t.Helper()
	var document struct {
		CheckSessionIframe string `json:"check_session_iframe"`
	}
	if err := json.Unmarshal([]byte(b.get(s.issuer+"/.well-known/openid-configuration").body), &document); err != nil {
		b.t.Fatal(err)
	}
	return document.CheckSessionIframe
}

func TestSessionManagementOfTheOPsOwnIsLeftAloneOrReplacedAsAWhole(t *testing.T) {
	const itsOwn, ours = "/its-own-check", "/oidc/check-session"
	for name, tt := range map[string]struct {
		as       traits
		mode     string
		page     string
		replaced bool
	}{
		"with a check page":            {traits{ownCheckPage: true}, "auto", itsOwn, false},
		"with a check page, replaced":  {traits{ownCheckPage: true}, "replace", ours, true},
		"without a check page":         {traits{ownSessionState: true}, "auto", ours, true},
		"without a check page, kept":   {traits{ownSessionState: true}, "keep", ours, false},
		"without any":                  {traits{}, "auto", ours, true},
		"with a check page, fragments": {traits{ownCheckPage: true, cookie: oneHopEarlier}, "", itsOwn, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, tt.as, map[string]any{"session_state": tt.mode})
			defer d.close()
			b, s := d.browser(), d.site()
			if got := b.checkPage(s); got != s.issuer+tt.page {
				t.Errorf("the document names %s", got)
			}
			refused := b.authorize(s, "shop", "", url.Values{"prompt": {"none"}})
			shop := b.authorize(s, "shop", "alice", nil)
			if tt.replaced != (b.matches(shop) && b.ask(s, shop) == "unchanged") || !tt.replaced && shop.sessionState() != ownSessionState {
				t.Errorf("session_state is %q", shop.sessionState())
			}
			if added := refused.sessionState() != "" && refused.sessionState() != ownSessionState; added != tt.replaced {
				t.Errorf("an error has session_state %q", refused.sessionState())
			}
			for i, body := range b.tokens(s, shop) {
				if !strings.Contains(body, "access_token") || strings.Contains(body, "session_state") != (!tt.replaced) {
					t.Errorf("token response %d is %s", i, body)
				}
			}
		})
	}
}

func TestSignOutsAtTheOPEndTheSession(t *testing.T) {
	for name, tt := range map[string]struct {
		as       traits
		settings map[string]any
		want     string
	}{
		"a new login cookie, and op_logout":       {traits{signOut: byNewValue}, map[string]any{"op_logout": []any{map[string]any{"method": "GET", "paths": []string{"/x", "/logout"}}}}, "changed"},
		"a new login cookie, and another method":  {traits{signOut: byNewValue}, map[string]any{"op_logout": []any{map[string]any{"paths": []string{"/logout"}}}}, "unchanged"},
		"a new login cookie, and nothing is said": {traits{signOut: byNewValue}, nil, "unchanged"},
		"Clear-Site-Data":                         {traits{signOut: byClearSiteData}, nil, "changed"},
		"Clear-Site-Data, below a path":           {traits{signOut: byClearSiteData, cookiePath: "/account"}, nil, "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, tt.as, tt.settings)
			defer d.close()
			b, s := d.browser(), d.site()
			shop, wiki := b.authorize(s, "shop", "alice", nil), b.authorize(s, "wiki", "", nil)
			b.signOut(s, d.op)
			for _, a := range []answer{shop, wiki} {
				if got := b.ask(s, a); got != tt.want {
					t.Errorf("%s: the server says %s", a.clientID, got)
				}
			}
		})
	}
}

// An administrator has ended the OP's session on its server: browsers keep the cookie, and the next silent request shows it.
func TestASilentRequestShowsThatTheOPHasEndedItsSession(t *testing.T) {
	none := url.Values{"prompt": {"none"}}
	for name, tt := range map[string]struct {
		as    traits
		frame bool
		lost  bool // the browser was restarted, and has no login cookie any more
		extra url.Values
		want  string
	}{
		"in a frame":                        {traits{}, true, false, none, "changed"},
		"in a frame, below a path":          {traits{cookiePath: "/account"}, true, false, none, "changed"},
		"in a frame without its lax cookie": {traits{laxCookie: true}, true, false, none, "unchanged"},
		"in a tab":                          {traits{laxCookie: true}, false, false, none, "changed"},
		"in a tab that has lost the cookie": {traits{laxCookie: true}, false, true, none, "changed"},
		"in a frame that has lost it":       {traits{laxCookie: true}, true, true, none, "unchanged"},
		"that asks for more":                {traits{}, true, false, url.Values{"prompt": {"none"}, "max_age": {"60"}}, "unchanged"},
		"by a client that takes no part":    {traits{}, true, false, url.Values{"prompt": {"none"}, "client_id": {"evil"}}, "unchanged"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, tt.as, nil)
			defer d.close()
			b, s := d.browser(), d.site()
			b.header.Set("Sec-Fetch-Site", "cross-site")
			b.header.Set("Sec-Fetch-Mode", "navigate")
			b.header.Set("Sec-Fetch-Dest", "document")
			shop, wiki := b.authorize(s, "shop", "alice", nil), b.authorize(s, "wiki", "", nil)
			silent := b
			if tt.frame {
				silent = b.frame()
			}
			if again := silent.authorize(s, "shop", "alice", none); !tt.as.laxCookie && again.values.Get("code") == "" {
				t.Fatalf("who is signed in gets %v", again.values)
			}
			d.op.invalidate()
			d.clock.Advance(time.Minute)
			if tt.lost {
				delete(b.cookies, "login")
			}
			refused := silent.authorize(s, "shop", "", tt.extra)
			if refused.values.Get("error") != "login_required" {
				t.Fatalf("the answer is %v", refused.values)
			}
			for _, a := range []answer{shop, wiki} {
				if got := b.ask(s, a); got != tt.want {
					t.Errorf("%s: the server says %s", a.clientID, got)
				}
			}
			if tt.want == "changed" && !b.matches(refused) {
				t.Error("the error's session_state does not hold")
			}
			if again := b.authorize(s, "shop", "alice", nil); b.ask(s, again) != "unchanged" || !b.matches(again) {
				t.Error("who signs in again has no session")
			}
		})
	}
}

func TestAnEndSessionBlockAloneSignsOutOfAnOPWithoutACookie(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.cookie = neverSet
	block := "oidc_session {\n\t\tissuer ISSUER\n\t\tend_session\n\t\tclient shop {\n\t\t\tpost_logout_redirect_uri " + shopBye + "\n\t\t}\n\t}\n\t"
	runCaddy(t, t.TempDir(), site.caddyfile("", block+op.proxy()))
	b := newBrowser(t)
	shop := b.authorize(site, "shop", "alice", nil)
	got := b.endSession(site, url.Values{"id_token_hint": {b.hintFor(site, shop)}, "post_logout_redirect_uri": {shopBye}})
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != shopBye || b.ask(site, shop) != "changed" {
		t.Errorf("got %s to %q, the server says %s", got.Status, got.Header.Get("Location"), b.ask(site, shop))
	}
	if again := b.endSession(site, nil); !strings.Contains(again.body, "You are signed out") {
		t.Errorf("who is not signed in gets %s", again.body)
	}
}
