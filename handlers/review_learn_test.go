package handlers_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/handlerstest"
)

// An OP that writes its URLs by X-Forwarded-Prefix gives a client a document of an issuer that is
// not there. The next question, which has the last word, must still be asked where the OP is.
func TestAForgedPrefixNamesNoIssuer(t *testing.T) {
	w := handlerstest.NewWorld(t)
	p := w.Provide(t, "")
	passDocument(t, p, w, handlers.WellKnown, handlerstest.Document(handlerstest.Issuer+"/forged"))
	if op := p.Known().Load(); op != nil && op.Issuer != handlerstest.Issuer {
		t.Errorf("learnt issuer %s, which is asked at %s from now on", op.Issuer, p.Target(handlerstest.Involved(handlerstest.Issuer)).DiscoveryURL())
	}
	if op := p.Find(handlerstest.From(handlerstest.Involved(handlerstest.Issuer), "192.0.2.9"), serving(handlerstest.Document(handlerstest.Issuer))); op == nil || op.Issuer != handlerstest.Issuer {
		t.Errorf("got %+v", op)
	}
}
