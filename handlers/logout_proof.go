package handlers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// A notEndedError says that the OP's own session goes on, or may, and what an operator can do.
type notEndedError struct{ why, advice string }

func (e *notEndedError) Error() string { return "the OP has not ended its own session: " + e.why }

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
	isLogin := func(cookie ClearCookie) bool { return cookie.Name == e.LoginCookie }
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
	return slices.ContainsFunc(e.loginNames(), func(name string) bool { return carriesCookie(r, name) })
}

// noteLogin remembers which of those cookies browsers bring to the endpoint, for names that none
// brings may be wrong. Only what a browser brings that has signed in here counts: anybody can
// send a cookie of any name.
func (e *EndSession) noteLogin(l *leave) {
	if l.sealed.session.IsZero() {
		return
	}
	for _, name := range e.loginNames() {
		if carriesCookie(l.r, name) {
			e.brought.Store(brought{name, e.LoginPlace.mayWithhold(l.op, l.r)}, true)
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
func (e *EndSession) wouldBring(op *OP, r *http.Request) bool {
	withheld := e.LoginPlace.mayWithhold(op, r)
	if e.LoginPlace.comes(r) || !withheld && e.LoginPlace.isSet() && e.LoginPlace.missed(r.URL.Path) == nil {
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
func (e *EndSession) proves(op *OP, r *http.Request, status int, header http.Header) bool {
	if len(e.Upstream.Success) > 0 {
		return e.Upstream.succeeded(status)
	}
	path, _, _ := strings.Cut(e.Upstream.Path, "?")
	return slices.ContainsFunc(e.loginNames(), func(name string) bool {
		deleted, set := effect(header["Set-Cookie"], name, path, e.env.Now())
		return carriesCookie(r, name) && deleted && !set && e.LoginPlace.isDeleted(op, r, e.deletions(header, name, path))
	})
}

// deletions are those of a cookie in an answer to a request for a path.
func (e *EndSession) deletions(header http.Header, name, path string) (deleted []*http.Cookie) {
	for _, line := range header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == name && isDeletion(c, e.env.Now()) {
			c.Path = cookiePath(c.Path, path)
			deleted = append(deleted, c)
		}
	}
	return deleted
}

// unproved says why the OP's own session may go on although nothing failed; nil: it has ended, or
// there is nothing to end it by. It is not for what the browser's next request will show.
func (e *EndSession) unproved(l *leave) error {
	names := strings.Join(e.loginNames(), ", ")
	switch carried := e.carriesLogin(l.r); {
	case l.proved || !e.endsAtOP():
		return nil
	case names == "":
		return &notEndedError{
			"its answer does not show it",
			"set login_cookie, or name the status by which the OP says that it has signed the user out in the option success of upstream",
		}
	case carried && e.LoginPlace.isCleared(e.ClearCookies), !carried && e.wouldBring(l.op, l.r):
		return nil
	case !carried && l.sealed.session.IsZero() && !e.LoginPlace.isSet() && !e.LoginPlace.isDoubted():
		return nil // nothing suggests that the user is signed in
	case carried && e.Upstream == nil:
		return &notEndedError{
			fmt.Sprintf("the browser keeps the cookie %s", names),
			"have clear_cookies delete the login cookie, with the domain and path that the OP sets it with",
		}
	case carried:
		return &notEndedError{
			fmt.Sprintf("its answer does not delete the cookie %s", names),
			"check the upstream request; if it signs the user out, name the status of its answer in the option success of upstream",
		}
	default:
		e.LoginPlace.doubted.Store(true)
		return &notEndedError{
			fmt.Sprintf("the browser has no cookie %s, and none was observed that reaches the endpoint", names),
			"check the name: it must be that of the cookie by which the OP knows users who are signed in",
		}
	}
}
