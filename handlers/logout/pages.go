package logout

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
)

// ask asks the user.
func (e *EndSession) ask(l *logoutExchange) {
	e.log(l, "asked")
	page := assets.View{Page: assets.PageQuestion}
	e.addForm(l, &page)
	e.show(l, http.StatusOK, page)
}

// askAgain says that an answer came too late or from elsewhere, and asks anew. Users who are not
// signed in are not asked.
func (e *EndSession) askAgain(l *logoutExchange) {
	if !e.isSignedIn(l) {
		e.finishSignedOut(l)
		return
	}
	e.log(l, "asked again")
	page := assets.View{
		Page: assets.PageError, Problem: assets.ProblemExpired, Signed: assets.SignedIn,
	}
	e.addForm(l, &page)
	e.show(l, http.StatusBadRequest, page)
}

// refuse says what is wrong with a request, and offers to sign out, if there is something to sign
// out of (section 4). Users who are signed out already read so: that the browser is not sent
// elsewhere is no failure of the sign-out.
func (e *EndSession) refuse(l *logoutExchange, err error) {
	bad := new(badRequestError)
	errors.As(err, &bad)
	e.log(l, "refused", bad.fields()...)
	q := l.request
	l.request = logoutRequest{
		ClientID: q.ClientID, Hinted: q.Hinted, Locales: q.Locales,
		Unregistered: q.Unregistered, Host: q.Host,
	}
	page := assets.View{Page: assets.PageError, Problem: bad.problem, Detail: bad.parameter}
	switch {
	case l.Sealed.Browser.IsZero() && isCrossSitePost(l.op, l.r):
		// Cookies that the browser has may not have come: nothing is known, and a question would
		// replace them.
	case e.isSignedIn(l):
		page.Signed = assets.SignedIn
		e.addForm(l, &page)
	case q.Unregistered:
		e.finishSignedOut(l)
		return
	default:
		page.Signed = assets.SignedOut
	}
	e.show(l, http.StatusBadRequest, page)
}

// show shows a page.
func (e *EndSession) show(l *logoutExchange, status int, page assets.View) {
	page.Language, page.Issuer = l.language(), e.opName(l.op)
	e.showClient(l, &page)
	if l.Cookies != nil {
		l.Write(l.w.Header())
	}
	body, err := e.pages.Render(page)
	if err != nil {
		e.env.Logger.Error("a page of sign-out cannot be shown",
			zap.String("page", string(page.Page)), zap.Error(err))
		l.w.WriteHeader(http.StatusInternalServerError)
		return
	}
	writePage(l.w, status, page.Language, e.pages.ContentSecurityPolicy(), body)
}

// language is that of the user's pages.
func (l *logoutExchange) language() string {
	return assets.ChooseLanguage(l.request.Locales, l.r.Header.Get("Accept-Language"))
}

// opName is what pages call the OP.
func (e *EndSession) opName(op *handlers.OP) string { return cmp.Or(e.Name, op.Hostname()) }

// showClient names the client on a page, and links back to it. Nobody vouches for a client that
// is unknown, or that registered itself and is named by a link without a hint: such a client's
// text is not shown, and nothing leads to it.
func (e *EndSession) showClient(l *logoutExchange, page *assets.View) {
	client, known := e.findClient(l)
	if known || l.request.Hinted {
		page.Client = client.ShownName(l.request.ClientID)
	}
	page.Host = l.request.Host
	if l.request.Unregistered && page.Page == assets.PageSignedOut {
		page.Problem = assets.ProblemUnknownRedirect
	}
	isDeadEnd := page.Page == assets.PageSignedIn || page.Page == assets.PageError ||
		page.Problem == assets.ProblemUnknownRedirect
	if !known || !isDeadEnd || client.RegisteredItself() && !l.request.Hinted {
		return
	}
	back := clients.WebAddress(l.request.Redirect)
	if back == nil {
		back = client.Origin()
	}
	page.Back, page.BackName = back.String(), clients.ShownHost(back.String())
	if !client.RegisteredItself() {
		page.BackName = cmp.Or(assets.PlainName(client.Name), page.BackName)
	}
}

// writePage writes a page that nobody may frame.
func writePage(w http.ResponseWriter, status int, language, policy string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Content-Language", language)
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = w.Write(body) // to a client that may have gone
}

// writeText writes a response to a script or a server.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // to a client that may have gone
}
