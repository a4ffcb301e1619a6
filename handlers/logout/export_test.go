package logout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// What the tests beside this package use of it.

func (x *EndSession) FramesOf(op *handlers.OP, client clients.Client, p *registry.Client) []string {
	return x.framesOf(op, client, p)
}

const AnswerStay = answerStay

type LogoutRequest = logoutRequest

var LogoutParameters = logoutParameters

func (x *EndSession) VerifyHint(op *handlers.OP, r *http.Request, next caddyhttp.Handler, token string) (tokens.IDToken, error) {
	return x.verifyHint(op, r, next, token)
}

const ParkedPurpose = parkedPurpose

type SealedLogout = sealedLogout

var OpenLogout = openLogout

func (x sealedLogout) IsOfBrowser(browser sessionstate.BrowserID) bool { return x.isOfBrowser(browser) }

func (x *EndSession) OPName(op *handlers.OP) string { return x.opName(op) }

func (x *EndSession) ShowClient(l *logoutExchange, page *assets.View) { x.showClient(l, page) }

type LogoutExchange = logoutExchange

const ParkedParameter = parkedParameter

func (x *EndSession) Next(l *logoutExchange, s sealedLogout) string { return x.next(l, s) }

const RepeatedWithin = repeatedWithin

func (x *logoutExchange) OnceValues() ([16]byte, [16]byte) { return x.onceValues() }
