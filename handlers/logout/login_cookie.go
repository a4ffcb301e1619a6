package logout

import (
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

const (
	adviceProof = "set login_cookie, or name the status by which the OP says that it has signed " +
		"the user out in the option success of upstream"
	adviceClear = "have clear_cookies delete the login cookie, with the domain and path that the " +
		"OP sets it with"
)

// warn says that no sign-out can be shown to have worked, as it is configured.
func (e *EndSession) warn() {
	isLogin := func(cookie browser.ClearCookie) bool { return cookie.Name == e.LoginCookie }
	switch {
	case e.Upstream != nil:
		if len(e.Upstream.Success) == 0 && len(e.loginNames()) == 0 {
			e.env.Logger.Warn("nothing shows whether end_session signs users out",
				zap.String("advice", adviceProof))
		}
	case e.LoginCookie != "" && !slices.ContainsFunc(e.ClearCookies, isLogin):
		e.env.Logger.Warn("end_session does not delete the login cookie",
			zap.String("login_cookie", e.LoginCookie), zap.String("advice", adviceClear))
	}
}

// loginNames are the names of the cookies that show whether the browser is signed in at the OP:
// that of the login cookie or, where that is unknown, those of all that are cleared.
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

// carriesLogin reports whether the browser has one of those cookies.
func (e *EndSession) carriesLogin(r *http.Request) bool {
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		return exchange.HasCookie(r, name)
	})
}

// A brought cookie came to the endpoint, maybe although another site's page had sent the browser.
type brought struct {
	name      string
	crossSite bool
}

// noteLoginCookies remembers which of those cookies browsers bring to the endpoint, for names that
// none brings may be wrong. Only browsers that have signed in here count: anybody can send a
// cookie of any name.
func (e *EndSession) noteLoginCookies(l *logoutExchange) {
	if l.Sealed.Session.IsZero() {
		return
	}
	for _, name := range e.loginNames() {
		if exchange.HasCookie(l.r, name) {
			e.brought.Store(brought{name, e.LoginCookiePaths.MayWithhold(l.op, l.r)}, true)
		}
	}
}

// wouldBring reports whether one of those cookies would have come with the request, if the browser
// had it: the OP was observed to set it so, or another browser has brought it in the same way.
func (e *EndSession) wouldBring(l *logoutExchange) bool {
	paths := e.LoginCookiePaths
	withheld := paths.MayWithhold(l.op, l.r)
	if paths.Comes(l.r) || !withheld && paths.IsSet() && paths.Missed(l.r.URL.Path) == nil {
		return true
	}
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		_, crossSite := e.brought.Load(brought{name, true})
		_, sameSite := e.brought.Load(brought{name, false})
		return crossSite && l.r.Method == http.MethodGet || sameSite && !withheld
	})
}

// proves reports whether the OP's answer to the upstream request shows that the OP has ended its
// own session: by a status that the configuration names, or by the deletion of a cookie that the
// browser brought. Any other may be a page that asks, a login page, or an error page of the site.
func (e *EndSession) proves(l *logoutExchange, status int, header http.Header) bool {
	if len(e.Upstream.Success) > 0 {
		return e.Upstream.succeeded(status)
	}
	path, lines := e.Upstream.path(), header["Set-Cookie"]
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		deleted, set := exchange.CookieEffect(lines, name, path, e.env.Now())
		return deleted && !set && exchange.HasCookie(l.r, name) &&
			e.LoginCookiePaths.IsDeleted(l.op, l.r, e.deletions(lines, name))
	})
}

// deletions are those of a cookie in the OP's answer to the upstream request.
func (e *EndSession) deletions(lines []string, name string) (deleted []*http.Cookie) {
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err == nil && c.Name == name && exchange.IsDeletion(c, e.env.Now()) {
			c.Path = exchange.CookiePath(c.Path, e.Upstream.path())
			deleted = append(deleted, c)
		}
	}
	return deleted
}

// unproved says why the OP's own session may go on although nothing failed; nil: it has ended, or
// there is nothing to end it by. It is not for what the browser's next request will show.
func (e *EndSession) unproved(l *logoutExchange) error {
	names, paths := strings.Join(e.loginNames(), ", "), e.LoginCookiePaths
	switch {
	case l.proved || !e.endsAtOP():
		return nil
	case names == "":
		return notEnded("its answer does not show it", adviceProof)
	case e.carriesLogin(l.r):
		return e.unprovedWith(names)
	case e.wouldBring(l):
		return nil
	case l.Sealed.Session.IsZero() && !paths.IsSet() && !paths.IsDoubted():
		return nil // nothing suggests that the user is signed in
	}
	paths.Doubted.Store(true)
	return notEnded("the browser has no cookie "+names+", and none was observed that reaches "+
		"the endpoint", "check the name: it must be that of the cookie by which the OP knows "+
		"users who are signed in")
}

// unprovedWith is the same for a browser that carries the cookies.
func (e *EndSession) unprovedWith(names string) error {
	switch {
	case e.LoginCookiePaths.IsCleared(e.ClearCookies):
		return nil
	case e.Upstream == nil:
		return notEnded("the browser keeps the cookie "+names, adviceClear)
	default:
		return notEnded("its answer does not delete the cookie "+names,
			"check the upstream request; if it signs the user out, name the status of its answer "+
				"in the option success of upstream")
	}
}

// cookieSurvived reports whether the browser still has, or may have, what it was signed in by at
// the OP, of the cookies that were cleared: the login cookie where that is known, for another may
// be that of a neighbour on the same domain. So may one more of its name: if the browser has fewer
// of it than it had before, the OP's own is gone.
func (e *EndSession) cookieSurvived(r *http.Request, before []int) bool {
	for i, n := range e.countCleared(r) {
		name := e.ClearCookies[i].Name
		switch {
		case n == 0 || e.LoginCookie != "" && name != e.LoginCookie:
		case i < len(before) && n < before[i]:
		case name == e.LoginCookie && e.LoginCookiePaths.IsCleared(e.ClearCookies):
		default:
			return true
		}
	}
	return false
}

// countCleared returns how many cookies the browser has of the name of each that is cleared.
func (e *EndSession) countCleared(r *http.Request) []int {
	counts := make([]int, len(e.ClearCookies))
	for i, cookie := range e.ClearCookies {
		counts[i] = exchange.CountCookies(r, cookie.Name)
	}
	return counts
}
