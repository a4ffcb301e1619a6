package logout

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// asksOP reports whether there is a request to end the OP's own session by, and may be such a
// session: a browser without the OP's login cookie has none.
func (e *EndSession) asksOP(r *http.Request) bool {
	return e.Upstream != nil && (e.LoginCookie == "" || exchange.HasCookie(r, e.LoginCookie))
}

// endAtOP ends the OP's own session by the configured request, unless the login cookie does not
// reach the endpoint.
func (e *EndSession) endAtOP(l *logoutExchange) error {
	if err := e.LoginCookiePaths.Missed(e.PathAt(l.op)); err != nil {
		return err
	}
	if !e.asksOP(l.r) {
		return nil
	}
	prepared, err := e.upstreamRequest(l).Prepare(e.env, l.r, l.next)
	if err != nil {
		return err
	}
	answer, err := prepared.Send()
	if err != nil {
		return notEnded(err.Error(), "see whether the OP answers the upstream request")
	}
	e.relayCookies(l.w.Header(), answer.Header()["Set-Cookie"])
	if !e.Upstream.succeeded(answer.Status) {
		return notEnded(fmt.Sprintf("it answered with status %d", answer.Status),
			"check the upstream request: it must be the one by which the OP's own pages sign out")
	}
	l.proved = e.proves(l, answer.Status, answer.Header())
	return nil
}

// notEnded says why the OP's own session goes on, or may, and what an operator can do.
func notEnded(why, advice string) error { return &browser.NotEndedError{Why: why, Advice: advice} }

// upstreamRequest is the request as the browser would make it from a page of the OP: frameworks
// look at Origin and Referer.
func (e *EndSession) upstreamRequest(l *logoutExchange) handlers.OPRequest {
	u := e.Upstream
	replace := func(text string) string { return e.env.Replace(l.r, text) }
	header := http.Header{
		"Accept": {"*/*"}, "Sec-Fetch-Site": {"same-origin"},
		"Origin": {l.op.Origin}, "Referer": {l.op.Origin + "/"},
	}
	// Authorization is the user's own at a wall of the site; the cookies of one are among the
	// browser's.
	for _, field := range []string{"Cookie", "Authorization", "User-Agent", "Accept-Language"} {
		if values := l.r.Header[field]; len(values) > 0 {
			header[field] = slices.Clone(values)
		}
	}
	l.op.Cookies.Strip(&http.Request{Header: header})
	for _, field := range slices.Sorted(maps.Keys(u.Headers)) {
		if value := replace(u.Headers[field]); httpguts.ValidHeaderFieldValue(value) {
			header[textproto.CanonicalMIMEHeaderKey(field)] = []string{value}
		}
	}
	body := replace(u.Body)
	if len(u.Form) > 0 {
		form := url.Values{}
		for name, value := range u.Form {
			form.Set(name, replace(value))
		}
		body = form.Encode()
		header.Set("Content-Type", exchange.FormType)
	}
	return handlers.OPRequest{
		Method: cmp.Or(u.Method, http.MethodPost), Target: l.op.Origin + u.Path,
		Header: header, Body: body,
	}
}

// succeeded reports whether the OP does not refuse.
func (u *Upstream) succeeded(status int) bool {
	if len(u.Success) == 0 {
		return status >= 200 && status < 400
	}
	return slices.ContainsFunc(u.Success, func(configured int) bool {
		return caddyhttp.StatusCodeMatches(status, configured)
	})
}

// path is the path without the query.
func (u *Upstream) path() string {
	path, _, _ := strings.Cut(u.Path, "?")
	return path
}

// relayCookies passes on the cookies of the OP's answer. One without a path is for the directory
// of the upstream's path (RFC 6265, section 5.1.4), which is not that of the browser's request.
// Those that are cleared anyway are left out.
func (e *EndSession) relayCookies(header http.Header, lines []string) {
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			header.Add("Set-Cookie", line) // a value that Go's reader refuses, such as JSON
			continue
		}
		if !strings.HasPrefix(c.Path, "/") {
			c.Path = exchange.CookiePath("", e.Upstream.path())
			line += "; Path=" + c.Path
		}
		isThis := func(cleared browser.ClearCookie) bool { return cleared.Is(c) }
		if !slices.ContainsFunc(e.ClearCookies, isThis) {
			header.Add("Set-Cookie", line)
		}
	}
}
