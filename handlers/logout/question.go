package logout

import (
	"cmp"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// The user's answers.
const (
	AnswerSignOut = "sign_out"
	answerStay    = "stay"
)

// ask asks the user.
func (e *EndSession) ask(l *logoutExchange) {
	e.log(l, "asked")
	e.show(l, http.StatusOK, assets.View{
		Page: assets.PageQuestion, Action: e.PathAt(l.op) + handlers.ConfirmSuffix, Confirmation: l.confirmation(l.request),
	})
}

// askAgain says that an answer came too late or from elsewhere, and asks anew. Who is not signed
// in is not asked.
func (e *EndSession) askAgain(l *logoutExchange) {
	if !e.isSignedIn(l) {
		e.finishSignedOut(l)
		return
	}
	e.log(l, "asked again")
	e.show(l, http.StatusBadRequest, assets.View{
		Page: assets.PageError, Problem: assets.ProblemExpired, Signed: assets.SignedIn,
		Action: e.PathAt(l.op) + handlers.ConfirmSuffix, Confirmation: l.confirmation(l.request),
	})
}

// serveAnswer takes the user's answer: from a page of this origin, in the browser and the session
// that were asked, once. Who answers twice, by a double click, gets as the second answer what the
// first one has done.
func (e *EndSession) serveAnswer(l *logoutExchange) {
	if l.r.Method != http.MethodPost {
		l.redirect(e.PathAt(l.op)) // reloaded, or followed as a link
		return
	}
	form, err := readLogoutForm(l.w, l.r)
	if err != nil {
		e.refuse(l, err)
		return
	}
	confirmation, ok := openLogout(l.Cookies, confirmationPurpose, form.Get("confirmation"))
	if ok && confirmation.isOfBrowser(l.Sealed.Browser) {
		l.request, l.confirmed = confirmation.Request, true
	}
	if !ok || isCrossSitePost(l.op, l.r) || !confirmation.isLive(l.Now) || !confirmation.isOf(l.Cookies) {
		e.askAgain(l)
		return
	}
	answer := form.Get("answer")
	l.confirmedBy = [16]byte(confirmation.Value)
	switch first, before := e.spend(l, answer); {
	case first && answer == AnswerSignOut, before == AnswerSignOut && e.mayRepeat(l):
		e.signOut(l)
	case answer == answerStay && (first || before == answerStay):
		e.log(l, "stayed")
		e.show(l, http.StatusOK, assets.View{Page: assets.PageSignedIn})
	default:
		e.askAgain(l)
	}
}

// spend marks a question as answered, and returns whether it is the first answer; else, what that
// was. While the registry is unavailable an answer may be given again: it is still that of this
// browser and session, and expires.
func (e *EndSession) spend(l *logoutExchange, answer string) (first bool, before string) {
	if answer != AnswerSignOut && answer != answerStay {
		answer = "" // the registry keeps none of what else a form may say
	}
	until := l.Now.Add(confirmationLifetime)
	first, before, err := e.env.Registry.Once(handlers.RecordingContext(l.r), l.op.Issuer, l.confirmedBy, answer, until)
	if err != nil {
		handlers.LogUnrecorded(e.env.Logger, "that a sign-out was confirmed is not recorded", err)
		return true, ""
	}
	return first, before
}

// show shows a page.
func (e *EndSession) show(l *logoutExchange, status int, page assets.View) {
	page.Language = assets.ChooseLanguage(l.request.Locales, l.r.Header.Get("Accept-Language"))
	page.Issuer = e.opName(l.op)
	e.showClient(l, &page)
	header := l.w.Header()
	if l.Cookies != nil {
		l.Write(header)
	}
	body, err := e.pages.Render(page)
	if err != nil {
		e.env.Logger.Error("a page of sign-out cannot be shown", zap.String("page", string(page.Page)), zap.Error(err))
		l.w.WriteHeader(http.StatusInternalServerError)
		return
	}
	writePage(l.w, status, page.Language, e.pages.ContentSecurityPolicy(), body)
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

// log writes the line that stands for a request. It holds nothing of the request but who asked,
// and, where it is refused or fails, the address that was asked for.
func (e *EndSession) log(l *logoutExchange, outcome string, more ...zap.Field) {
	level := zap.InfoLevel
	if outcome == "refused" || outcome == "failed" {
		level = zap.WarnLevel
	}
	if outcome == "failed" && l.request.Redirect != "" {
		more = append(more, zap.String("post_logout_redirect_uri", loggedAddress(l.request.Redirect)))
	}
	fields := []zap.Field{
		zap.String("issuer", l.op.Issuer), zap.String("outcome", outcome),
		zap.String("client_id", assets.Shorten(l.request.ClientID, maxLogged)), zap.Bool("hinted", l.request.Hinted),
		zap.Bool("redirect", l.request.Redirect != ""), zap.String("client_ip", handlers.ClientAddress(l.r)),
	}
	e.env.Logger.Log(level, "end_session", append(fields, more...)...)
}

// fields are what the log says of a request that is refused.
func (b *badRequestError) fields() []zap.Field {
	fields := []zap.Field{zap.String("parameter", b.parameter), zap.String("why", b.reason)}
	if b.address != "" {
		fields = append(fields, zap.String("post_logout_redirect_uri", b.address))
	}
	return append(fields, zap.String("advice", cmp.Or(b.advice, "mend the app's sign-out request")))
}
