package signin

import (
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// rotationGrace is for requests that were sent before the response to another one arrived. OPs
// that set a new login cookie with each response do not accept the one before: to apps that ask at
// the same moment, they say that nobody is signed in.
const rotationGrace = 10 * time.Second

// isEndedByOP reports whether a response says that the OP has ended its own session. It requires
// the user to sign in (OpenID Connect Core 1.0, section 3.1.2.6), although the request asked for
// nothing in particular, and the browser brought the login cookie or has it no more.
//
// Any page can have a frame send such a request. A client whose registration says how fresh a
// sign-in must be (default_max_age) could end sessions at will: so it must be one that takes part
// in the session, and has not registered itself.
func (x *observation) isEndedByOP(request browser.PendingRequest, a authorizationResponse) bool {
	isRequired := a.values.Get("error") == "login_required"
	isSignedIn := !x.cookies.Sealed.Session.IsZero()
	if !isRequired || !isSignedIn || x.LoginCookie == "" || !request.Is(browser.BareRequest) {
		return false
	}
	says := func(text string) bool { return exchange.HasWord(text, "login_required") }
	if x.submitted.Has(says) {
		return false // a redirector says so, not the OP
	}
	last, known := x.signIns.Get(browserKey(x.cookies.Sealed.Browser))
	if known && x.cookies.Now.Sub(last) < rotationGrace {
		return false
	}
	return !x.broughtReplaced() && x.broughtLogin() && x.takesPart(request.ClientID)
}

// broughtReplaced reports whether a request was sent with a login cookie that the OP had just
// replaced.
func (x *observation) broughtReplaced() bool {
	brought := exchange.CookieValues(x.request, x.LoginCookie)
	return slices.ContainsFunc(brought, func(value string) bool {
		at, known := x.renewed.Get(handlers.Hash(value))
		return known && x.cookies.Now.Sub(at) < rotationGrace
	})
}

func browserKey(id sessionstate.BrowserID) [16]byte { return handlers.Hash(string(id[:])) }

// broughtLogin reports whether the OP got what the browser has of its login cookie. One of that
// name which another host of the domain has set says nothing, while the OP's own is withheld from
// a frame. In a tab, it may be gone: removed when the browser was closed.
func (x *observation) broughtLogin() bool {
	carried := exchange.CountCookies(x.request, x.LoginCookie)
	return x.loginCookiePaths.Comes(x.request) &&
		(carried == 1 || carried == 0 && exchange.IsPlainNavigation(x.request))
}

// takesPart reports whether a client that has not registered itself takes part in the browser's
// session, by the registry.
func (x *observation) takesPart(clientID string) bool {
	ctx := handlers.RecordingContext(x.request)
	if x.Clients != nil {
		client, known := x.Clients.Find(ctx, x.op.Issuer, clientID)
		if known && client.RegisteredItself() {
			return false
		}
	}
	ref := registry.Ref{Session: x.cookies.Sealed.Session}
	_, session, err := x.env.Registry.Resolve(ctx, ref)
	// never ended by a guess
	return err == nil && session != nil && session.Client(clientID) != nil
}
