package handlers

import (
	"testing"
)

// An OP that writes its URLs by X-Forwarded-Prefix gives a client a document of an issuer that is not there. The next question, which
// has the last word, must still be asked where the OP is.
func TestAForgedPrefixNamesNoIssuer(t *testing.T) {
	w := newWorld(t)
	p := w.provide(t, "")
	passDocument(t, p, w, wellKnown, document(issuer+"/forged"))
	if op := p.known.Load(); op != nil && op.Issuer != issuer {
		t.Errorf("learnt issuer %s, which is asked at %s from now on", op.Issuer, p.target(involved(issuer)).discoveryURL())
	}
	if op := p.Find(from(involved(issuer), "192.0.2.9"), serving(document(issuer))); op == nil || op.Issuer != issuer {
		t.Errorf("got %+v", op)
	}
}
