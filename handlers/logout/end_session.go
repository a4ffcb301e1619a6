package logout

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
)

// An EndSession is the end_session endpoint at work: its configuration, and what the site passes
// in. Setup makes it ready.
type EndSession struct {
	Config

	// Explicit: the endpoint is configured, and served even if it has nothing to end the OP's own
	// session by.
	Explicit bool
	// LoginCookie is the name of the OP's own login cookie; empty: unknown.
	LoginCookie string
	// LoginCookiePaths knows how the OP sets that cookie.
	LoginCookiePaths *browser.LoginCookiePaths
	// Name is what pages call the OP. Empty: its host.
	Name string
	// Clients knows where browsers may be sent.
	Clients *clients.Clients
	// Keys knows what the OP signs with.
	Keys *opkeys.Keys
	// BackChannel notifies the clients.
	BackChannel *backchannel.BackChannel
	// FrontChannel: clients may be notified by front channel, whatever is registered of them.
	FrontChannel bool
	// FrontChannelTimeout is how long a page waits for the frames by which clients are notified.
	FrontChannelTimeout time.Duration

	env   handlers.Env
	pages *assets.Pages

	brought   sync.Map                  // of brought: see noteLogin
	fetched   handlers.Recent[struct{}] // clients whose scripts ask, as the log has said
	nothingAt sync.Once                 // the log says that nothing ends the OP's own session
}

// Setup gives the handler its world.
func (e *EndSession) Setup(env handlers.Env) error {
	e.env = env
	if e.Upstream == nil && len(e.ClearCookies) == 0 && e.LoginCookie != "" {
		e.ClearCookies = []browser.ClearCookie{{Name: e.LoginCookie}}
	}
	e.warn()
	var err error
	if e.pages, err = assets.LoadPages(e.Templates); err != nil {
		return fmt.Errorf("loading the templates: %w", err)
	}
	return nil
}

// Able reports whether the endpoint can be served: there is something to end the OP's own session
// by, or nothing has to be ended there.
func (e *EndSession) Able() bool { return e.Explicit || e.endsAtOP() }

// endsAtOP reports whether there is something to end the OP's own session by.
func (e *EndSession) endsAtOP() bool { return e.Upstream != nil || len(e.ClearCookies) > 0 }

// IsServed reports whether the endpoint is there. Where the OP has one of its own, ours is not.
func (e *EndSession) IsServed(op *handlers.OP) bool {
	return e.Able() && !op.HasEndSession && e.Owner(op) == ""
}

// Owner returns the member of the OP's metadata that has one of the endpoint's paths, which is the
// OP's then; empty: none has.
func (e *EndSession) Owner(op *handlers.OP) string {
	return cmp.Or(op.Owner(e.PathAt(op)), op.Owner(e.PathAt(op)+handlers.ConfirmSuffix))
}

// Serves reports whether a path is one of the endpoint's.
func (e *EndSession) Serves(op *handlers.OP, path string) bool {
	return (op.IsAt(path, e.Path, handlers.DefaultEndSessionPath) || e.isConfirmation(op, path)) && e.IsServed(op)
}

func (e *EndSession) isConfirmation(op *handlers.OP, path string) bool {
	n := len(path) - len(handlers.ConfirmSuffix)
	return n > 0 && path[n:] == handlers.ConfirmSuffix && op.IsAt(path[:n], e.Path, handlers.DefaultEndSessionPath)
}

// Members are what the endpoint adds to the discovery document.
func (e *EndSession) Members(op *handlers.OP) []exchange.Member {
	if !e.Able() || e.Owner(op) != "" {
		return nil
	}
	members := []exchange.Member{{Name: "end_session_endpoint", Value: op.Origin + e.PathAt(op)}}
	if e.IsFramed(op) {
		members = append(members, exchange.Member{Name: "frontchannel_logout_supported", Value: true, Replace: true})
		if e.BackChannel.Of(op, op.DocumentIssuer).NamesSessions(op) {
			members = append(members, exchange.Member{Name: "frontchannel_logout_session_supported", Value: true, Replace: true})
		}
	}
	return members
}

func (e *EndSession) PathAt(op *handlers.OP) string {
	return op.EndpointPath(e.Path, handlers.DefaultEndSessionPath)
}

// Serve answers a request for the endpoint (GET, POST) or the user's answer (POST). It never
// returns an error: Caddy would log it with the URL, and the hint in that.
//
// Only what loads a whole tab is acted upon. A frame or an image is answered and nothing is done:
// some apps load their sign-out so, and pages that wish the user ill would. A script is told what
// to do instead.
func (e *EndSession) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !e.AccessLog {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	exchange.ForbidCaching(w.Header())
	w.Header().Set("Referrer-Policy", "same-origin")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case exchange.IsEarly(r):
		w.WriteHeader(http.StatusTooEarly)
	// a success would be shown at the click, and nobody signed out by that
	case exchange.IsSpeculative(r):
		w.WriteHeader(http.StatusServiceUnavailable)
	case exchange.IsFetched(r):
		e.refuseFetch(op, w, r)
	case r.Method == http.MethodHead || !exchange.IsNavigation(r):
		w.WriteHeader(http.StatusOK)
	case e.AllowHintOnly && !e.isConfirmation(op, r.URL.Path) && isServerCall(op, r):
		e.serveHintOnly(op, w, r, next)
	default:
		e.serve(op, w, r, next)
	}
	return nil
}

func (e *EndSession) serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) {
	keys, err := e.env.Keys(handlers.RecordingContext(r))
	if err != nil {
		// Without the keys nothing can be known of the session, and no question can be asked.
		e.show(&logoutExchange{op: op, w: w, r: r}, http.StatusServiceUnavailable, assets.View{Page: assets.PageError, Problem: assets.ProblemOPFailed})
		return
	}
	l := &logoutExchange{Cookies: browser.ReadCookies(e.env, op, keys, r), op: op, w: w, r: r, next: next}
	l.Flush()
	e.noteLogin(l)
	switch {
	case e.isConfirmation(op, r.URL.Path):
		e.serveAnswer(l)
	case r.Method == http.MethodGet && r.URL.Query().Has(parkedParameter):
		e.serveParked(l)
	default:
		e.serveRequest(l)
	}
}

// serveRequest serves what an app, or nobody, asks for.
func (e *EndSession) serveRequest(l *logoutExchange) {
	values, err := readLogoutParameters(l.w, l.r)
	if err == nil {
		l.request, err = e.resolve(l.op, l.r, l.next, values)
	}
	if err != nil {
		e.refuse(l, err)
		return
	}
	if address := values.Get("post_logout_redirect_uri"); address != "" && l.request.ClientID == "" {
		e.env.Logger.Warn("logout request names no client", zap.String("issuer", l.op.Issuer),
			zap.String("post_logout_redirect_uri", loggedAddress(address)),
			zap.String("advice", "the app must send id_token_hint or client_id: its users are not sent back otherwise"))
	}
	if isCrossSitePost(l.op, l.r) {
		// The OP's Lax cookies do not come with such a POST. They do with a navigation (RFC
		// 6265bis, section 5.6.7.1).
		e.redirectToSelf(l, sealedLogout{Request: l.request})
		return
	}
	e.decide(l)
}

// refuse says what is wrong with a request, and offers to sign out, if there is something to sign
// out of (section 4). Who is signed out already is told so: that the browser is not sent elsewhere
// is no failure of the sign-out.
func (e *EndSession) refuse(l *logoutExchange, err error) {
	var bad *badRequestError
	if !errors.As(err, &bad) {
		bad = &badRequestError{problem: assets.ProblemInvalidRequest}
	}
	if len(l.request.ClientID) > handlers.MaxClientID {
		l.request.ClientID = ""
	}
	e.log(l, "refused", bad.fields()...)
	q := l.request
	l.request = logoutRequest{Locales: q.Locales, ClientID: q.ClientID, Hinted: q.Hinted, Unregistered: q.Unregistered, Host: q.Host}
	page := assets.View{Page: assets.PageError, Problem: bad.problem, Detail: bad.parameter, Signed: e.signed(l)}
	if page.Signed == assets.SignedOut && q.Unregistered {
		e.finishSignedOut(l)
		return
	}
	if page.Signed == assets.SignedIn {
		page.Action, page.Confirmation = e.PathAt(l.op)+handlers.ConfirmSuffix, l.confirmation(l.request)
	}
	e.show(l, http.StatusBadRequest, page)
}

// signed reports whether the user may be signed in. Another site's POST may come without cookies
// that the browser has: then it is not known, and a question would replace them.
func (e *EndSession) signed(l *logoutExchange) assets.Signed {
	switch {
	case l.Sealed.Browser.IsZero() && isCrossSitePost(l.op, l.r):
		return ""
	case e.isSignedIn(l):
		return assets.SignedIn
	default:
		return assets.SignedOut
	}
}
