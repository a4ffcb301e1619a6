package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// provider is an ordinary OpenID Provider (OP), made with zitadel's op library: a login page,
// single sign-on, prompt=none, and a plain "sign out" of its own. It knows nothing of session
// management or logout of OpenID Connect; Caddy adds that.
type provider struct {
	library *op.Provider
	store   *opStore
	issuer  string
	apps    []string // the RPs' origins, for the links on its home page
}

// newProvider returns the OP for an issuer, an http origin without a path, with the clients that
// may use it.
func newProvider(issuer string, clients []*opClient) (*provider, error) {
	store, err := newOPStore(clients)
	if err != nil {
		return nil, err
	}
	config := &op.Config{
		CodeMethodS256:  true,
		SupportedScopes: []string{oidc.ScopeOpenID},
		SupportedClaims: []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid"},
	}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("drawing the OP's key: %w", err)
	}
	library, err := op.NewProvider(config, store, op.StaticIssuer(issuer),
		op.WithAllowInsecure(), // plain http, on loopback only
		op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("making the OP: %w", err)
	}
	p := &provider{library: library, store: store, issuer: issuer}
	for _, c := range clients {
		p.apps = append(p.apps, c.origin)
	}
	return p, nil
}

// handler serves the OP. The library's own router would also serve (and advertise) end_session,
// revocation and more; the demo wants an OP that has none of these, so the five exchanges of the
// code flow are routed here.
func (p *provider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) { op.Keys(w, r, p.store) })
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) { op.Authorize(w, r, p.library) })
	mux.HandleFunc("GET /authorize/callback", op.AuthorizeCallbackHandler(p.library))
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) { op.Exchange(w, r, p.library) })

	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /login", p.loginPage)
	mux.HandleFunc("GET /style.css", serveStyle)

	// Only the OP's own pages may submit its forms: nobody may sign a visitor in or out from
	// elsewhere.
	sameOrigin := http.NewCrossOriginProtection()
	mux.Handle("POST /login", sameOrigin.Handler(http.HandlerFunc(p.login)))
	mux.Handle("POST /logout", sameOrigin.Handler(http.HandlerFunc(p.logout)))

	return op.NewIssuerInterceptor(p.library.IssuerFromRequest).Handler(p.withSession(mux))
}

// discovery serves the OP's metadata: the library's, without what is not routed above.
func (p *provider) discovery(w http.ResponseWriter, r *http.Request) {
	d := op.CreateDiscoveryConfig(r.Context(), p.library, p.store)
	d.UserinfoEndpoint = ""
	d.IntrospectionEndpoint = ""
	d.IntrospectionEndpointAuthMethodsSupported = nil
	d.RevocationEndpoint = ""
	d.RevocationEndpointAuthMethodsSupported = nil
	d.DeviceAuthorizationEndpoint = ""
	d.EndSessionEndpoint = ""
	d.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	d.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode}
	d.TokenEndpointAuthMethodsSupported = []oidc.AuthMethod{oidc.AuthMethodBasic}
	op.Discover(w, d)
}

// ssoCookie is the OP's own login cookie: the one that the Caddyfile names as login_cookie.
const ssoCookie = "op_sso"

// setSSOCookie signs the browser in. SameSite=None lets it come along in an RP's hidden
// prompt=none iframe, which is cross-site here: every *.localhost name is a site of its own. That
// needs Secure, which browsers accept on http://*.localhost.
func setSSOCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: ssoCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteNoneMode,
	})
}

type ssoContextKey struct{}

// withSession hands the single sign-on session of the request's cookie to what comes after it; see
// sessionOf.
func (p *provider) withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(ssoCookie); err == nil {
			if s, ok := p.store.session(c.Value); ok {
				r = r.WithContext(context.WithValue(r.Context(), ssoContextKey{}, s))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// sessionOf returns the single sign-on session of the request that ctx belongs to; the zero value
// if there is none.
func sessionOf(ctx context.Context) ssoSession {
	s, _ := ctx.Value(ssoContextKey{}).(ssoSession)
	return s
}
