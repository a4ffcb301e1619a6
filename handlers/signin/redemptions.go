package signin

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Redemptions watches whether the codes of clients are redeemed through this Caddy: an app may
// know the token endpoint by an internal address, and nothing says so. The zero value watches none
// yet.
type Redemptions struct {
	mu      sync.Mutex
	clients map[string]*redemption
}

// A redemption is what was seen of one client's codes.
type redemption struct {
	codes   int                     // responses with one, up to enoughCodes
	since   time.Time               // when the last of those was sent
	latest  sessionstate.ResponseID // of the latest code
	settled bool                    // one was redeemed, or the operator has been told
}

const (
	maxRedemptions = 1024 // clients
	// enoughCodes of a client, the latest of them older than a code's lifetime at any OP (RFC
	// 6749, section 4.1.2), are enough to tell.
	enoughCodes  = 3
	oldestOfCode = 10 * time.Minute
)

// responded notes a code that was sent to a client. It logs once that the client's are not
// redeemed here.
func (w *Redemptions) responded(logger *zap.Logger, issuer, clientID, code string, now time.Time) {
	if w.isUnredeemed(clientID, code, now) {
		logger.Warn("codes of a client are not redeemed through this Caddy", zap.String("issuer", issuer), zap.String("client_id", clientID),
			zap.String("advice", "have the app use the token_endpoint of the discovery document, at the issuer's host, instead of an internal address: "+
				"until then it is not known who signed in there, and the app is not notified of sign-outs"))
	}
}

func (w *Redemptions) isUnredeemed(clientID, code string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.clients[clientID]
	if c == nil {
		if len(w.clients) >= maxRedemptions {
			return false
		}
		if w.clients == nil {
			w.clients = make(map[string]*redemption)
		}
		c = new(redemption)
		w.clients[clientID] = c
	}
	if c.settled {
		return false
	}
	c.latest = sessionstate.NewResponseID(code)
	if c.codes < enoughCodes {
		c.codes, c.since = c.codes+1, now
		return false
	}
	c.settled = now.Sub(c.since) > oldestOfCode
	return c.settled
}

// redeemed notes a code that a client redeems. An empty clientID is one that the request does not
// name.
func (w *Redemptions) redeemed(clientID, code string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[clientID]; c != nil {
		c.settled = true
		return
	}
	latest := sessionstate.NewResponseID(code)
	for _, c := range w.clients {
		if c.latest == latest {
			c.settled = true
		}
	}
}
