package logout

import (
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"

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
// reach us.
func (e *EndSession) endAtOP(l *logoutExchange) error {
	if err := e.LoginCookiePaths.Missed(e.PathAt(l.op)); err != nil {
		return err
	}
	if !e.asksOP(l.r) {
		return nil
	}
	asking, err := e.Upstream.question(e.env, l).Prepare(e.env, l.r, l.next)
	if err != nil {
		return err
	}
	a, err := asking.Send()
	if err != nil {
		return &browser.NotEndedError{Why: err.Error(), Advice: "see whether the OP answers the upstream request"}
	}
	e.relayCookies(l.w.Header(), a.Header()["Set-Cookie"], e.Upstream.Path)
	if !e.Upstream.succeeded(a.Status) {
		return &browser.NotEndedError{Why: fmt.Sprintf("it answered with status %d", a.Status), Advice: "check the upstream request: it must be the one by which the OP's own pages sign out"}
	}
	l.proved = e.proves(l.op, l.r, a.Status, a.Header())
	return nil
}

func (u *Upstream) succeeded(status int) bool {
	if len(u.Success) == 0 {
		return status >= 200 && status < 400
	}
	for _, configured := range u.Success {
		if caddyhttp.StatusCodeMatches(status, configured) {
			return true
		}
	}
	return false
}

// question is the request as the browser would make it from a page of the OP: frameworks look at
// Origin and Referer.
func (u *Upstream) question(env handlers.Env, l *logoutExchange) handlers.OPRequest {
	replace := func(text string) string { return env.Replace(l.r, text) }
	q := handlers.OPRequest{Method: u.Method, Target: l.op.Origin + u.Path, Header: u.header(l, replace), Body: replace(u.Body)}
	if q.Method == "" {
		q.Method = http.MethodPost
	}
	if len(u.Form) > 0 {
		form := url.Values{}
		for name, value := range u.Form {
			form.Set(name, replace(value))
		}
		q.Body = form.Encode()
		q.Header.Set("Content-Type", exchange.FormType)
	}
	return q
}

func (u *Upstream) header(l *logoutExchange, replace func(string) string) http.Header {
	header := http.Header{"Accept": {"*/*"}, "Origin": {l.op.Origin}, "Referer": {l.op.Origin + "/"}, "Sec-Fetch-Site": {"same-origin"}}
	// Authorization is the user's own at a wall of the site; the cookies of one are among the
	// browser's.
	for _, field := range []string{"Cookie", "Authorization", "User-Agent", "Accept-Language"} {
		if values := l.r.Header[field]; len(values) > 0 {
			header[field] = append([]string(nil), values...)
		}
	}
	stripped := &http.Request{Header: header}
	l.op.Cookies.Strip(stripped)
	for _, field := range slices.Sorted(maps.Keys(u.Headers)) {
		value := u.Headers[field]
		if value := replace(value); httpguts.ValidHeaderFieldValue(value) {
			header[textproto.CanonicalMIMEHeaderKey(field)] = []string{value}
		}
	}
	return header
}
