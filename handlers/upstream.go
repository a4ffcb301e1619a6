package handlers

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// Upstream is the request that ends the OP's own session: the one its own sign-out button makes. It goes to the OP through the rest
// of the site, with the browser's cookies, and the cookies that the OP sets or deletes in its answer reach the browser.
type Upstream struct {
	// The method, in any case. Default: POST.
	Method string `json:"method,omitempty"`

	// The path on the issuer's origin, with a query if need be. Takes placeholders that are known at start.
	Path string `json:"path"`

	// Header fields, in addition to the browser's Cookie, Authorization, User-Agent and
	// Accept-Language, and to Origin and Referer, which are those of a page of the OP. Takes
	// placeholders of the request, such as {http.request.cookie.csrftoken}.
	Headers map[string]string `json:"headers,omitempty"`

	// The fields of a form, which is sent as the body. Their values take placeholders of the request.
	Form map[string]string `json:"form,omitempty"`

	// The body, instead of a form. Takes placeholders of the request.
	Body string `json:"body,omitempty"`

	// The status codes by which the OP says that it has ended its session; one digit stands for a class: 2 is 200 to 299.
	// Users are told that they are signed out when one of these comes.
	// Default: 2 and 3, and then users are told so only if the login cookie is gone as well.
	Success []int `json:"success,omitempty"`
}

// Validate reports why the request cannot be made.
func (u *Upstream) Validate() error {
	if err := validateMethod("upstream", u.Method); err != nil {
		return err
	}
	path, _, _ := strings.Cut(u.Path, "?")
	if _, err := url.ParseRequestURI(u.Path); err != nil || path == "" || strings.HasPrefix(path, "//") || path[0] != '/' || strings.Contains(u.Path, "#") {
		return fmt.Errorf("upstream: %w %q: it must be a path on the issuer's origin, such as /logout", ErrPath, u.Path)
	}
	if u.Body != "" && len(u.Form) > 0 {
		return errors.New("upstream: there can be a body or a form, not both")
	}
	for _, field := range slices.Sorted(maps.Keys(u.Headers)) {
		value := u.Headers[field]
		if !httpguts.ValidHeaderFieldName(field) || !httpguts.ValidHeaderFieldValue(value) || textproto.CanonicalMIMEHeaderKey(field) == "Cookie" {
			return fmt.Errorf("upstream: header %q cannot be sent", field)
		}
	}
	for _, status := range u.Success {
		if status < 1 || status > 599 || status > 5 && status < 100 {
			return fmt.Errorf("upstream: %d is no status code", status)
		}
	}
	return nil
}

// asksOP reports whether there is a request to end the OP's own session by, and may be such a session: a browser without the OP's login
// cookie has none.
func (e *EndSession) asksOP(r *http.Request) bool {
	return e.Upstream != nil && (e.LoginCookie == "" || carriesCookie(r, e.LoginCookie))
}

// endAtOP ends the OP's own session by the configured request, unless the login cookie does not reach us.
func (e *EndSession) endAtOP(l *leave) error {
	if err := e.LoginPlace.missed(e.place(l.op)); err != nil {
		return err
	}
	if !e.asksOP(l.r) {
		return nil
	}
	asking, err := e.Upstream.question(e.env, l).prepare(e.env, l.r, l.next)
	if err != nil {
		return err
	}
	a, err := asking.send()
	if err != nil {
		return &notEndedError{err.Error(), "see whether the OP answers the upstream request"}
	}
	e.relayCookies(l.w.Header(), a.Header()["Set-Cookie"], e.Upstream.Path)
	if !e.Upstream.succeeded(a.status) {
		return &notEndedError{fmt.Sprintf("it answered with status %d", a.status), "check the upstream request: it must be the one by which the OP's own pages sign out"}
	}
	l.proved = e.proves(l.op, l.r, a.status, a.Header())
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

// question is the request as the browser would make it from a page of the OP: frameworks look at Origin and Referer.
func (u *Upstream) question(env Env, l *leave) opQuestion {
	replace := func(text string) string { return env.Replace(l.r, text) }
	q := opQuestion{method: u.Method, target: l.op.Origin + u.Path, header: u.header(l, replace), body: replace(u.Body)}
	if q.method == "" {
		q.method = http.MethodPost
	}
	if len(u.Form) > 0 {
		form := url.Values{}
		for name, value := range u.Form {
			form.Set(name, replace(value))
		}
		q.body = form.Encode()
		q.header.Set("Content-Type", formType)
	}
	return q
}

func (u *Upstream) header(l *leave, replace func(string) string) http.Header {
	header := http.Header{"Accept": {"*/*"}, "Origin": {l.op.Origin}, "Referer": {l.op.Origin + "/"}, "Sec-Fetch-Site": {"same-origin"}}
	// Authorization is the user's own at a wall of the site; the cookies of one are among the
	// browser's.
	for _, field := range []string{"Cookie", "Authorization", "User-Agent", "Accept-Language"} {
		if values := l.r.Header[field]; len(values) > 0 {
			header[field] = append([]string(nil), values...)
		}
	}
	stripped := &http.Request{Header: header}
	l.op.cookies.strip(stripped)
	for _, field := range slices.Sorted(maps.Keys(u.Headers)) {
		value := u.Headers[field]
		if value := replace(value); httpguts.ValidHeaderFieldValue(value) {
			header[textproto.CanonicalMIMEHeaderKey(field)] = []string{value}
		}
	}
	return header
}
