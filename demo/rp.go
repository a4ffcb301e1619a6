package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// relyingParty is a small app whose users sign in at the OP. Its server does the code flow and
// keeps the session; its page watches the OP with rp_iframe.js.
type relyingParty struct {
	name   string // "shop"
	origin string // scheme, host and port as browsers have it
	links  []link // to the other app and the OP
	// it has no logout: its page does not watch the OP, and nobody notifies it
	unmodified bool

	oauth2             oauth2.Config
	verifier           *oidc.IDTokenVerifier
	client             *http.Client // for the back channel to the OP
	checkSessionIframe string       // URL of the OP iframe; empty if the OP has none
	endSessionEndpoint string       // URL; empty if the OP has none

	mu       sync.Mutex
	sessions map[string]rpSession // by the value of the session cookie
	used     map[string]time.Time // jti of logout tokens, until these expire
	notified int                  // how often the OP said that a session ended
}

// link is one entry of the navigation.
type link struct{ Name, URL string }

// rpSession is one End-User signed in at the app in one browser.
type rpSession struct {
	user string
	// what the OP calls its own session in the ID token; empty: it does not say
	sid          string
	sessionState string // of the last authorization response (Session Management 1.0, section 2)
	idToken      string // the id_token_hint of the next prompt=none (section 3.1)
}

// newRelyingParty reads the OP's discovery document and returns an app at an origin, registered
// there as registered. client is what reaches the OP: through Caddy, so that the plugin sees the
// token responses.
func newRelyingParty(ctx context.Context, issuer string, registered *opClient, links []link, client *http.Client) (*relyingParty, error) {
	op, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, fmt.Errorf("reading the discovery document of %s: %w", issuer, err)
	}
	var metadata struct {
		CheckSessionIframe string `json:"check_session_iframe"`
		EndSessionEndpoint string `json:"end_session_endpoint"`
	}
	if err := op.Claims(&metadata); err != nil {
		return nil, fmt.Errorf("reading the discovery document of %s: %w", issuer, err)
	}
	return &relyingParty{
		name:   registered.id,
		origin: registered.origin,
		links:  links,
		oauth2: oauth2.Config{
			ClientID:     registered.id,
			ClientSecret: registered.secret,
			Endpoint:     op.Endpoint(),
			RedirectURL:  registered.origin + "/callback",
			Scopes:       []string{oidc.ScopeOpenID},
		},
		verifier:           op.Verifier(verifierConfig(registered.id)),
		client:             client,
		checkSessionIframe: metadata.CheckSessionIframe,
		endSessionEndpoint: metadata.EndSessionEndpoint,
		sessions:           make(map[string]rpSession),
		used:               make(map[string]time.Time),
	}, nil
}

// verifierConfig says by what ID tokens and logout tokens of an app are verified: not by every
// algorithm that the OP has, but by the one that is registered for the app's ID tokens
// (id_token_signed_response_alg), which its logout tokens have as well (Back-Channel Logout 1.0,
// section 2.6).
func verifierConfig(clientID string) *oidc.Config {
	return &oidc.Config{ClientID: clientID, SupportedSigningAlgs: []string{oidc.RS256}}
}

func (rp *relyingParty) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", rp.page)
	mux.HandleFunc("GET /login", rp.login)
	mux.HandleFunc("GET /callback", rp.callback)
	mux.HandleFunc("GET /style.css", serveStyle)
	if rp.unmodified {
		return mux
	}
	mux.HandleFunc("GET /rp_iframe.js", serveRPIframeScript)
	mux.HandleFunc("GET /rp_page.js", serveRPPageScript)
	own := http.NewCrossOriginProtection()
	mux.Handle("POST /logout", own.Handler(http.HandlerFunc(rp.logout)))
	mux.Handle("POST /logout-everywhere", own.Handler(http.HandlerFunc(rp.logoutEverywhere)))
	mux.HandleFunc("GET "+signedOutPath, rp.signedOut)
	mux.HandleFunc("POST "+backchannelPath, rp.backchannelLogout) // from the OP's server: it has no cookies to misuse
	return mux
}

// watchConfig is what rp_iframe.js needs to know. It reaches the script as JSON in the page.
type watchConfig struct {
	ClientID           string `json:"client_id"`
	SessionState       string `json:"session_state"`
	CheckSessionIframe string `json:"check_session_iframe"`
	SilentLogin        string `json:"silent_login"`
}

// page shows who is signed in. That of an app with a logout has the script that watches whether
// this is still so at the OP.
func (rp *relyingParty) page(w http.ResponseWriter, r *http.Request) {
	session, _ := rp.session(r)
	writePage(w, "rp.html", rp.pagePolicy(), map[string]any{
		"Name":  strings.ToUpper(rp.name[:1]) + rp.name[1:],
		"User":  session.user,
		"Links": rp.links,

		"Unmodified": rp.unmodified,
		"Watch": watchConfig{
			ClientID:           rp.oauth2.ClientID,
			SessionState:       session.sessionState,
			CheckSessionIframe: rp.checkSessionIframe,
			SilentLogin:        "/login?prompt=none",
		},
	})
}

// pagePolicy is the CSP of the app's page: its own script, and two frames: the OP iframe, and the
// prompt=none one, which goes from the app to the OP and back.
func (rp *relyingParty) pagePolicy() string {
	if rp.unmodified {
		return "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	}
	frames := "'self'"
	if u, err := url.Parse(rp.checkSessionIframe); err == nil && u.Host != "" {
		frames += " " + u.Scheme + "://" + u.Host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; frame-src " + frames + "; base-uri 'none'; frame-ancestors 'none'"
}

// logout signs out of this app only.
func (rp *relyingParty) logout(w http.ResponseWriter, r *http.Request) {
	rp.endSession(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
