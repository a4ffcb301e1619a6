package e2e

import (
	"net/url"
	"regexp"
	"slices"
	"testing"
)

// TestResponseModes shows that session_state arrives in each mode, and that it is a right one: the
// check page says unchanged.
func TestResponseModes(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	results := newTable("OpenID Provider", "third-party cookies", "query", "fragment", "form_post")
	t.Run("modes", func(t *testing.T) {
		inBothModes(t, func(t *testing.T, cookies thirdPartyCookies) {
			s := newSite(t)
			for _, op := range providers {
				s.addOP(t, op.host(crossSite), op)
			}
			s.start(t)
			b := startBrowser(t, cookies)
			for i, op := range providers {
				row := []string{op.name, string(cookies)}
				for _, mode := range []string{"query", "fragment", "form_post"} {
					row = append(row, s.respond(t, b, op, mode))
				}
				results.add(row, i, cookies.order())
			}
		})
	})
	results.expectDocumented(t, "response modes", 2*len(providers))
}

// respond has an OP answer in a mode, and returns what the check page says of its session_state.
func (s *site) respond(t *testing.T, b *browser, op provider, mode string) string {
	t.Helper()
	paths := map[string]string{"query": "/answer.html", "fragment": "/answer.html", "form_post": "/posted"}
	page := b.open(t, s.authorizationURL(op, mode, paths[mode]))
	if !op.sso || mode == "query" {
		op.login(t, page, op.users[0])
	}
	page.waitFor(t, "location.pathname === '"+paths[mode]+"'")
	return expectAnswered(t, page)
}

// authorizationURL is the authorization request of the shop, whose state names the OP's host.
func (s *site) authorizationURL(op provider, mode, path string) string {
	host := op.host(crossSite)
	return s.url(host, "/auth?") + url.Values{
		"client_id":             {"shop"},
		"redirect_uri":          {s.url(shopHost, path)},
		"response_type":         {"code"},
		"response_mode":         {mode},
		"scope":                 {"openid"},
		"state":                 {host},
		"nonce":                 {"a nonce"},
		"code_challenge":        {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, // RFC 7636, appendix B
		"code_challenge_method": {"S256"},
	}.Encode()
}

var sessionStatePattern = regexp.MustCompile(`^[\w-]{43}\.[\w-]+$`)

// expectAnswered expects an authorization response with a session_state in the page of a relying
// party, and returns the one word that the check page says of it.
func expectAnswered(t *testing.T, page *tab) string {
	t.Helper()
	page.waitFor(t, "replies.length >= 2")
	answer := eval[map[string]string](t, page, "answer")
	if answer["code"] == "" || !sessionStatePattern.MatchString(answer["session_state"]) {
		t.Errorf("code is %q and session_state %q", answer["code"], answer["session_state"])
	}
	if answer["policy"] != "" {
		t.Errorf("the OP's page went without its Content-Security-Policy")
	}
	words := eval[[]string](t, page, "replies")
	if words = slices.Compact(words); len(words) != 1 {
		t.Errorf("the check page said %q, want one word", words)
	}
	return words[0]
}
