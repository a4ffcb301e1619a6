package handlers

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A Browser observes what passes between a browser and the OP: authorization requests, the responses that answer them, and the
// deletion of the OP's own login cookie.
type Browser struct {
	// LoginCookie is the name of the OP's own login cookie. Its deletion ends the session. Default: none.
	LoginCookie string

	env Env
}

// Setup gives the handler its world.
func (b *Browser) Setup(env Env) { b.env = env }

// Involved tells whether a request may be part of what is observed: it is an authorization request, or it carries a pending
// cookie or the login cookie. It costs next to nothing, since every request of the site is asked about.
func (b *Browser) Involved(op *OP, r *http.Request) bool {
	if r.URL.Path == op.AuthorizationPath && op.AuthorizationPath != "" {
		return true
	}
	if len(r.Header["Cookie"]) == 0 {
		return false
	}
	return carries(r, op.cookies.pending) || b.LoginCookie != "" && carries(r, b.LoginCookie+"=")
}

// Serve passes an involved request on and observes the response.
func (b *Browser) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	asked, r := readAuthorizationRequest(op, r, b.env.Now())
	return observe(w, r, next, func(status int, header http.Header) *hold {
		b.observed(op, r, asked, status, header)
		return nil
	})
}

// observed decides on one response. Most are none of our concern, which is told without opening a cookie.
func (b *Browser) observed(op *OP, r *http.Request, asked *pendingRequest, status int, header http.Header) {
	signedOut := b.loginCookieDeleted(r, header)
	response, answers := readAuthorizationResponse(op, r, status, header)
	if !signedOut && !answers && asked == nil {
		return
	}
	keys, err := b.env.Keys(recording(r))
	if err != nil {
		return // whoever failed to get them has said so
	}
	v := newVisit(b.env, op, keys, r)
	if signedOut {
		v.end()
	}
	answered := answers && v.answer(asked, response, header)
	if asked != nil && !answered && status < http.StatusBadRequest {
		v.await(*asked)
	}
	v.writeCookies(header)
}
