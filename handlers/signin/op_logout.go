package signin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// An OPLogout is a request by which the OP itself signs a user out: what its own sign-out button
// sends. It is for OPs that give the browser a new login cookie then, instead of deleting it.
// Where it succeeds, with a status of 2xx or 3xx, the session has ended.
type OPLogout struct {
	// The method, in any case. A GET often only asks the user.
	//
	// Default: POST.
	Method string `json:"method,omitempty"`

	// The whole paths on the issuer's origin, at least one. They take placeholders that are known
	// at start.
	Paths []string `json:"paths"`
}

// Validate reports why there can be no such request.
func (l OPLogout) Validate() error {
	if err := handlers.ValidateMethod("op_logout", l.Method); err != nil {
		return err
	}
	if len(l.Paths) == 0 {
		return fmt.Errorf("op_logout: %w: there is none", handlers.ErrPath)
	}
	for _, path := range l.Paths {
		if path == "" {
			return fmt.Errorf("op_logout: %w: it is empty", handlers.ErrPath)
		}
		if err := handlers.ValidatePath("op_logout", path); err != nil {
			return err
		}
	}
	return nil
}

// isOPLogout reports whether a request is one by which the OP signs users out.
func (o *Observer) isOPLogout(r *http.Request) bool {
	return slices.ContainsFunc(o.OPLogouts, func(l OPLogout) bool {
		return r.Method == cmp.Or(l.Method, http.MethodPost) && slices.Contains(l.Paths, r.URL.Path)
	})
}

// isSignedOutByOP reports whether a response says that the OP has signed the user out, on such a
// request. A page of another site can have a frame or an image make it, too, and nothing is known
// then of what the OP did. A redirect with an authorization response goes on with a sign-in.
func (x *observation) isSignedOutByOP(status int, header http.Header) bool {
	if status < http.StatusOK || status >= http.StatusBadRequest || !x.isOPLogout(x.request) {
		return false
	}
	location := header.Get("Location")
	_, ok := x.resolveAfterLogout(location)
	return x.isOwnRequest() && (location == "" || ok)
}

// isOwnRequest reports whether a request comes from a page of the OP, or loads a whole tab (Fetch
// Metadata, sections 2.1 and 2.3). From another site, it must have brought the login cookie, where
// that is known: without it, the OP could not tell whom to sign out. A form that another site
// posts may well have been refused, by a redirect: it ends nothing. Engines without those header
// fields name the page in Origin or Referer, or the request was typed in.
func (x *observation) isOwnRequest() bool {
	r := x.request
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case site == "":
		return isOrigin(x.op, r.Header.Get("Origin")) &&
			isOrigin(x.op, r.Header.Get("Referer")) && x.mayBeSignedIn()
	case site == "same-origin":
		return r.Header.Get("Sec-Purpose") == ""
	case r.Header.Get("Sec-Fetch-Dest") != "document" || !exchange.IsNavigation(r):
		return false
	default:
		return site == "none" ||
			(r.Method == http.MethodGet || site == "same-site") && x.mayBeSignedIn()
	}
}

// mayBeSignedIn reports whether the OP could tell whom a request is from.
func (x *observation) mayBeSignedIn() bool {
	return x.LoginCookie == "" || exchange.HasCookie(x.request, x.LoginCookie)
}

// isOrigin reports whether an Origin or a Referer names the OP's origin, or nothing.
func isOrigin(op *handlers.OP, named string) bool {
	if named == "" {
		return true
	}
	u, err := url.Parse(named)
	return err == nil && u.Scheme+"://"+u.Host == op.Origin
}
