package signin

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// redemptions is whether the codes of clients are redeemed through this Caddy: an app may have the
// token endpoint by an internal address, and nothing else shows it. The zero value is empty.
type redemptions struct {
	mu      sync.Mutex
	clients map[string]*clientCodes
}

// clientCodes are the codes of one client.
type clientCodes struct {
	count   int                     // responses with one, up to enoughCodes
	since   time.Time               // when the last of those was sent
	latest  sessionstate.ResponseID // of the latest code
	settled bool                    // one was redeemed, or the log says that none is
}

const (
	maxRedemptions = 1024 // clients
	// enoughCodes of a client, the latest of them older than a code's lifetime at any OP (RFC
	// 6749, section 4.1.2), are enough for the log.
	enoughCodes  = 3
	oldestOfCode = 10 * time.Minute
)

// noteCode notes a code that was sent to a client. It warns once if the client's are not redeemed.
func (x *observation) noteCode(clientID, code string) {
	if x.redemptions.isUnredeemed(clientID, code, x.cookies.Now) {
		x.env.Logger.Warn("codes of a client are not redeemed through this Caddy",
			zap.String("issuer", x.op.Issuer), zap.String("client_id", clientID),
			zap.String("advice", "have the app use the token_endpoint of the discovery document, "+
				"at the issuer's host, instead of an internal address: until then it is not known "+
				"who signed in there, and the app is not notified of sign-outs"))
	}
}

// isUnredeemed notes a code that was sent to a client. It reports, once, that the codes of that
// client are not redeemed here.
func (r *redemptions) isUnredeemed(clientID, code string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[clientID]
	if c == nil {
		if len(r.clients) >= maxRedemptions {
			return false
		}
		if r.clients == nil {
			r.clients = make(map[string]*clientCodes)
		}
		c = new(clientCodes)
		r.clients[clientID] = c
	}
	if c.settled {
		return false
	}
	c.latest = sessionstate.NewResponseID(code)
	if c.count < enoughCodes {
		c.count, c.since = c.count+1, now
		return false
	}
	c.settled = now.Sub(c.since) > oldestOfCode
	return c.settled
}

// redeemed notes a code that a client redeems. An empty clientID is one that the request does not
// name.
func (r *redemptions) redeemed(clientID, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[clientID]; c != nil {
		c.settled = true
		return
	}
	latest := sessionstate.NewResponseID(code)
	for _, c := range r.clients {
		if c.latest == latest {
			c.settled = true
		}
	}
}
