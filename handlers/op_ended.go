package handlers

import (
	"net/http"
	"net/url"
	"slices"
)

// bareParameters are those of an authorization request that do not change whether the OP lets a user in who is signed in. Others may
// ask for a fresher, a stronger or another user's sign-in.
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

// endedByOP reports whether an answer says that the OP has ended its own session: it requires the user to sign in (OpenID Connect Core
// 1.0, section 3.1.2.6), although the browser brought the login cookie and the request asked for nothing in particular; or the
// browser has no such cookie any more.
//
// Any page can have a frame ask so. A client whose registration says how fresh a sign-in must be (default_max_age) could end sessions
// at will: so it must be one that takes part in the session, and has not registered itself.
func (b *Browser) endedByOP(v *visit, request pendingRequest, a authorizationResponse) bool {
	if b.LoginCookie == "" || !request.is(bare) || v.sealed.session.IsZero() || a.values.Get("error") != "login_required" {
		return false
	}
	if v.from.carried.has(func(text string) bool { return hasWord(text, "login_required") }) {
		return false // a redirector says so, not the OP
	}
	return b.broughtLogin(v.r) && b.takesPart(v, request.clientID)
}

// broughtLogin reports whether the OP saw what the browser has of its login cookie. One of that name which another host of the domain
// has set says nothing, while the OP's own is withheld from a frame. In a tab, it may be gone: removed when the browser was closed.
func (b *Browser) broughtLogin(r *http.Request) bool {
	if b.LoginPlace == nil || !b.LoginPlace.comes(r) {
		return false
	}
	carried := countCookies(r, b.LoginCookie)
	return carried == 1 || carried == 0 && isPlainNavigation(r)
}

// takesPart reports whether a client takes part in the browser's session, as the registry knows it.
func (b *Browser) takesPart(v *visit, clientID string) bool {
	if b.Clients != nil {
		if client, known := b.Clients.Find(recording(v.r), v.op.Issuer, clientID); known && client.registered {
			return false
		}
	}
	participations, err := v.env.Registry.Participations(recording(v.r), v.op.Issuer, v.sealed.session)
	if err != nil {
		return false // never ended by a guess
	}
	for _, p := range participations {
		if p.ClientID == clientID {
			return true
		}
	}
	return false
}
