package signin

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// rotationGrace is for requests that were sent before the answer to another one arrived. OPs that
// set a new login cookie with each response know the one before no more: apps that ask at the same
// moment are told that nobody is signed in.
const rotationGrace = 10 * time.Second

// bareParameters are those of an authorization request that do not change whether the OP lets a
// user in who is signed in. Others may ask for a fresher, a stronger or another user's sign-in.
var bareParameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"ui_locales", "prompt",
}

// isBare reports whether a request asks whether the user is signed in, and for nothing else.
func isBare(parameters url.Values) bool {
	for name, values := range parameters {
		if len(values) != 1 || !slices.Contains(bareParameters, name) {
			return false
		}
	}
	return parameters.Get("prompt") == "none"
}

// endedByOP reports whether an answer says that the OP has ended its own session: it requires the
// user to sign in (OpenID Connect Core
// 1.0, section 3.1.2.6), although the browser brought the login cookie and the request asked for nothing in particular; or the
// browser has no such cookie any more.
//
// Any page can have a frame ask so. A client whose registration says how fresh a sign-in must be
// (default_max_age) could end sessions at will: so it must be one that takes part in the session,
// and has not registered itself.
func (o *Observer) endedByOP(v *browser.Cookies, request browser.PendingRequest, a authorizationResponse) bool {
	if o.LoginCookie == "" || !request.Is(browser.BareRequest) || v.Sealed.Session.IsZero() || a.values.Get("error") != "login_required" {
		return false
	}
	if v.Arrival.Carried.Has(func(text string) bool { return exchange.HasWord(text, "login_required") }) {
		return false // a redirector says so, not the OP
	}
	if last, known := o.signIns.Get(browserKey(v.Sealed.Browser)); known && v.Now.Sub(last) < rotationGrace {
		return false
	}
	return !o.broughtReplaced(v.Request, v.Now) && o.broughtLogin(v.Request) && o.takesPart(v, request.ClientID)
}

// noteRenewal notes that the OP has given the browser another login cookie than it brought,
// whichever request that was the answer to.
func (o *Observer) noteRenewal(from browser.Arrival, header http.Header) {
	if o.LoginCookie == "" || len(header["Set-Cookie"]) == 0 {
		return
	}
	for _, line := range o.ownLines(from.OP, from.Request, header) {
		c, err := http.ParseSetCookie(line)
		if err != nil || c.Name != o.LoginCookie || exchange.IsDeletion(c, o.env.Now()) {
			continue
		}
		for _, value := range exchange.CookieValues(from.Request, o.LoginCookie) {
			if value != c.Value {
				o.renewed.Put(handlers.Hash(value), o.env.Now())
			}
		}
	}
}

// broughtReplaced reports whether a request was sent with a login cookie that the OP had just
// replaced.
func (o *Observer) broughtReplaced(r *http.Request, now time.Time) bool {
	return slices.ContainsFunc(exchange.CookieValues(r, o.LoginCookie), func(value string) bool {
		at, known := o.renewed.Get(handlers.Hash(value))
		return known && now.Sub(at) < rotationGrace
	})
}

func browserKey(id sessionstate.BrowserID) [16]byte { return handlers.Hash(string(id[:])) }

// broughtLogin reports whether the OP saw what the browser has of its login cookie. One of that
// name which another host of the domain has set says nothing, while the OP's own is withheld from
// a frame. In a tab, it may be gone: removed when the browser was closed.
func (o *Observer) broughtLogin(r *http.Request) bool {
	if o.LoginCookiePaths == nil || !o.LoginCookiePaths.Comes(r) {
		return false
	}
	carried := exchange.CountCookies(r, o.LoginCookie)
	return carried == 1 || carried == 0 && exchange.IsPlainNavigation(r)
}

// takesPart reports whether a client takes part in the browser's session, as the registry knows
// it.
func (o *Observer) takesPart(v *browser.Cookies, clientID string) bool {
	if o.Clients != nil {
		if client, known := o.Clients.Find(handlers.RecordingContext(v.Request), v.OP.Issuer, clientID); known && client.Registered {
			return false
		}
	}
	_, session, err := v.Env.Registry.Resolve(handlers.RecordingContext(v.Request), registry.Ref{Session: v.Sealed.Session})
	// never ended by a guess
	return err == nil && session != nil && session.Client(clientID) != nil
}
