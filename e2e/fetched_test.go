package e2e

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// A script that fetches the endpoint gets a status that is an error, and one of the OP's own pages
// can read what to do instead.
func TestSignOutByFetchIsRefused(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	op := leavable[1]
	op.options = strings.Replace(op.options, "end_session {", "end_session {\n\t\t\taccess_log", 1)
	host := op.host(crossSite)
	s := newSite(t)
	s.complaint = "logout request by script refused"
	s.addOP(t, host, op)
	s.start(t)
	l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, allowed), host: host}}
	l.shop = l.open(t, shopHost, "")
	l.signIn(t, l.shop, "alice", true)
	target := strconv.Quote(s.url(host, endSessionPath) + "?" + url.Values{"id_token_hint": {l.hint(t)}}.Encode())

	own := l.browser.open(t, s.url(host, "/"))
	if got := eval[string](t, own, "fetch("+target+").then(async (response) => response.status + ' ' + await response.text())"); !strings.HasPrefix(got, "400 ") || !strings.Contains(got, "fetch") {
		t.Errorf("a page of the OP gets %q, want 400 and what to do", got)
	}
	for number, options := range []string{"{mode: 'no-cors', credentials: 'include'}", "{credentials: 'include'}"} {
		eval[bool](t, l.shop, "fetch("+target+", "+options+").then(() => true, () => false)")
		waitAnswered(t, s.caddy, 2+number, "a 400", func(e logEntry) bool {
			return e.Status == http.StatusBadRequest && strings.HasPrefix(e.Request.URI, endSessionPath)
		})
	}
	if got := l.silently(t); got["code"] == "" {
		t.Errorf("a fetch signs out: %q", got["error"])
	}
	l.shop.run(t, "following the link", evaluate("location.assign("+target+")"))
	l.shop.waitFor(t, "document.querySelector('h1')?.textContent === 'You are signed out'")
}
