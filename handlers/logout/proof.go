package logout

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// loginNames are the names of the cookies that show whether the browser is signed in at the OP:
// that of the login cookie or, where that is not known, those of all that are cleared.
func (e *EndSession) loginNames() (names []string) {
	if e.LoginCookie != "" {
		return []string{e.LoginCookie}
	}
	for _, cookie := range e.ClearCookies {
		if !slices.Contains(names, cookie.Name) {
			names = append(names, cookie.Name)
		}
	}
	return names
}

// warn says that no sign-out can be shown to have worked, as it is configured.
func (e *EndSession) warn() {
	isLogin := func(cookie browser.ClearCookie) bool { return cookie.Name == e.LoginCookie }
	switch {
	case e.Upstream != nil && len(e.Upstream.Success) == 0 && len(e.loginNames()) == 0:
		e.env.Logger.Warn("nothing shows whether end_session signs users out", zap.String("advice",
			"set login_cookie, or name the status by which the OP says that it has signed the user out in the option success of upstream"))
	case e.Upstream == nil && e.LoginCookie != "" && !slices.ContainsFunc(e.ClearCookies, isLogin):
		e.env.Logger.Warn("end_session does not delete the login cookie", zap.String("login_cookie", e.LoginCookie),
			zap.String("advice", "have clear_cookies delete the login cookie, with the domain and path that the OP sets it with"))
	}
}

// carriesLogin reports whether the browser has one of those cookies.
func (e *EndSession) carriesLogin(r *http.Request) bool {
	return slices.ContainsFunc(e.loginNames(), func(name string) bool { return exchange.HasCookie(r, name) })
}

// noteLogin remembers which of those cookies browsers bring to the endpoint, for names that none
// brings may be wrong. Only what a browser brings that has signed in here counts: anybody can
// send a cookie of any name.
func (e *EndSession) noteLogin(l *logoutExchange) {
	if l.Sealed.Session.IsZero() {
		return
	}
	for _, name := range e.loginNames() {
		if exchange.HasCookie(l.r, name) {
			e.brought.Store(brought{name, e.LoginCookiePaths.MayWithhold(l.op, l.r)}, true)
		}
	}
}

// A brought cookie came to the endpoint, maybe although another site's page had sent the browser.
type brought struct {
	name      string
	crossSite bool
}

// wouldBring reports whether one of those cookies would have come with a request, if the browser
// had it: the OP was observed to set it so, or another browser has brought it in the same way.
func (e *EndSession) wouldBring(op *handlers.OP, r *http.Request) bool {
	withheld := e.LoginCookiePaths.MayWithhold(op, r)
	if e.LoginCookiePaths.Comes(r) || !withheld && e.LoginCookiePaths.IsSet() && e.LoginCookiePaths.Missed(r.URL.Path) == nil {
		return true
	}
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		_, crossSite := e.brought.Load(brought{name, true})
		_, sameSite := e.brought.Load(brought{name, false})
		return crossSite && r.Method == http.MethodGet || sameSite && !withheld
	})
}

// proves reports whether an answer to the request of Upstream shows that the OP has ended its own
// session: by a status that the configuration names, or by the deletion of a cookie that the
// browser brought. Any other may be a page that asks, a login page, or an error page of the site.
func (e *EndSession) proves(op *handlers.OP, r *http.Request, status int, header http.Header) bool {
	if len(e.Upstream.Success) > 0 {
		return e.Upstream.succeeded(status)
	}
	path, _, _ := strings.Cut(e.Upstream.Path, "?")
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		deleted, set := exchange.CookieEffect(header["Set-Cookie"], name, path, e.env.Now())
		return exchange.HasCookie(r, name) && deleted && !set && e.LoginCookiePaths.IsDeleted(op, r, e.deletions(header, name, path))
	})
}

// deletions are those of a cookie in an answer to a request for a path.
func (e *EndSession) deletions(header http.Header, name, path string) (deleted []*http.Cookie) {
	for _, line := range header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == name && exchange.IsDeletion(c, e.env.Now()) {
			c.Path = exchange.CookiePath(c.Path, path)
			deleted = append(deleted, c)
		}
	}
	return deleted
}

// unproved says why the OP's own session may go on although nothing failed; nil: it has ended, or
// there is nothing to end it by. It is not for what the browser's next request will show.
func (e *EndSession) unproved(l *logoutExchange) error {
	names := strings.Join(e.loginNames(), ", ")
	switch carried := e.carriesLogin(l.r); {
	case l.proved || !e.endsAtOP():
		return nil
	case names == "":
		return &browser.NotEndedError{
			Why:    "its answer does not show it",
			Advice: "set login_cookie, or name the status by which the OP says that it has signed the user out in the option success of upstream",
		}
	case carried && e.LoginCookiePaths.IsCleared(e.ClearCookies), !carried && e.wouldBring(l.op, l.r):
		return nil
	case !carried && l.Sealed.Session.IsZero() && !e.LoginCookiePaths.IsSet() && !e.LoginCookiePaths.IsDoubted():
		return nil // nothing suggests that the user is signed in
	case carried && e.Upstream == nil:
		return &browser.NotEndedError{
			Why:    fmt.Sprintf("the browser keeps the cookie %s", names),
			Advice: "have clear_cookies delete the login cookie, with the domain and path that the OP sets it with",
		}
	case carried:
		return &browser.NotEndedError{
			Why:    fmt.Sprintf("its answer does not delete the cookie %s", names),
			Advice: "check the upstream request; if it signs the user out, name the status of its answer in the option success of upstream",
		}
	default:
		e.LoginCookiePaths.Doubted.Store(true)
		return &browser.NotEndedError{
			Why:    fmt.Sprintf("the browser has no cookie %s, and none was observed that reaches the endpoint", names),
			Advice: "check the name: it must be that of the cookie by which the OP knows users who are signed in",
		}
	}
}
