package discovery

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// A Discovery serves the OP's discovery document.
type Discovery struct {
	// Observe takes each document that passes, with the OP and the request that it answers, and
	// returns the OP as it is known then; nil: the document is not the OP's.
	Observe func(op *handlers.OP, r *http.Request, document []byte) *handlers.OP

	env handlers.Env
}

// Setup prepares the handler for requests.
func (d *Discovery) Setup(env handlers.Env) { d.env = env }

// Serve answers with the OP's document and the members added to it, each only where the OP has
// none. A document that cannot be read passes as it came.
func (d *Discovery) Serve(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
	members func(*handlers.OP) []exchange.Member,
) error {
	return exchange.DocumentEdit{
		Edit: func(document []byte) ([]byte, error) {
			if op = d.Observe(op, r, document); op == nil {
				return nil, nil
			}
			view, err := op.OfDocument(document)
			if err != nil {
				return nil, err
			}
			return exchange.AddMembers(document, members(view))
		},
		Failed: func(err error) {
			d.env.Logger.Warn("the OP's discovery document passes as it came",
				zap.String("issuer", op.Issuer), zap.Error(err))
		},
	}.Serve(w, r, next)
}
