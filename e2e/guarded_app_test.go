package e2e

import "testing"

// A guardedApp is an unmodified app on a site of its own behind Caddy with oidc_guard.
type guardedApp struct {
	name         string // also its client ID; the client secret is name + "-secret"
	responseType string // of its client at the OP; empty: code
	callback     string // path of its redirect URI
	signIn       string // path that leads a browser which is not signed in to the OP
	private      string // path whose page says `user: alice` to a user who is signed in, and does not, to others
	cookie       string // name of the cookie that is its session; of a chunked one, the first chunk
	guard        string // options of its site's oidc_guard
	userinfo     bool   // its sign-in needs an answer of the userinfo endpoint
	// lacks says what the app lacks of its environment; nil: it needs what all tests need.
	lacks func() error
	// start starts the app, which is reached by browsers at site (https://127.0.1.N:PORT) and reaches the OP at issuer; ca is the path of the PEM of the CA of both. It returns the lines of the site's Caddyfile block that follow oidc_guard.
	start func(t *testing.T, site, issuer, ca string) string
}
