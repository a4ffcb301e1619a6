package logout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// What the tests beside this package use of it.

const (
	AnswerStay      = answerStay
	ParkedParameter = parkedParameter
	RepeatedWithin  = repeatedWithin
)

var Parameters = parameters

func (e *EndSession) FramesOf(op *handlers.OP, client clients.Client, p *registry.Client) []string {
	return e.framesOf(op, client, p)
}

func (e *EndSession) VerifyHint(op *handlers.OP, r *http.Request, next caddyhttp.Handler, token string) (tokens.IDToken, error) {
	return e.verifyHint(&logoutExchange{op: op, r: r, next: next}, token)
}

func (e *EndSession) OPName(op *handlers.OP) string { return e.opName(op) }

// ShownClient is what a question calls the client of a verified hint.
func (e *EndSession) ShownClient(op *handlers.OP, r *http.Request, id string) string {
	page := assets.View{Page: assets.PageQuestion}
	e.showClient(&logoutExchange{op: op, r: r, request: logoutRequest{ClientID: id, Hinted: true}}, &page)
	return page.Client
}

// ParkedBrowser seals a sign-out for a browser. It reports whether the URL opens as that browser's.
func (e *EndSession) ParkedBrowser(v *browser.Cookies) bool {
	l := &logoutExchange{Cookies: v, op: v.OP}
	u, err := http.NewRequest(http.MethodGet, e.parkedURL(l, sealedLogout{Ended: true}), nil)
	if err != nil {
		return false
	}
	sealed, ok := openLogout(v, parkedPurpose, u.URL.Query().Get(parkedParameter))
	return ok && sealed.isOfBrowser(v.Sealed.Browser)
}

// ClaimOf is the one-time value of a session's sign-out.
func ClaimOf(session browser.SessionCookie) [16]byte {
	claim, _ := (&logoutExchange{Cookies: &browser.Cookies{Sealed: session}}).onceValues(0)
	return claim
}
