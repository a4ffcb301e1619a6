package handlers

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Endpoints are the authorization endpoints of the OPs of one Caddy configuration, and which block
// serves each. Two OPs cannot have one endpoint: each response would get the session of both, and
// what follows would be read by the wrong one. Use [NewEndpoints].
type Endpoints struct {
	logger *zap.Logger

	mu     sync.Mutex
	claims []*Claim // in the order of the configuration
	logged map[[2]string]bool
}

// NewEndpoints returns those of a configuration without OPs.
func NewEndpoints(logger *zap.Logger) *Endpoints {
	return &Endpoints{logger: logger, logged: make(map[[2]string]bool)}
}

// A Claim is that of one block to the endpoint of its OP.
type Claim struct {
	all      *Endpoints
	yields   atomic.Bool
	observed atomic.Pointer[OP]

	issuer, endpoint string // empty: not yet discovered
}

// Provisioned returns the claim of the next block of the configuration. Earlier ones go before it.
func (e *Endpoints) Provisioned() *Claim {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &Claim{all: e}
	e.claims = append(e.claims, c)
	return c
}

// Yields reports whether the OP's authorization endpoint is that of an OP that is configured before
// it, which is the one to serve it then. It is called with every request, and looks only at what is
// new.
func (c *Claim) Yields(op *OP) bool {
	before := c.observed.Load()
	if before != op && c.observed.CompareAndSwap(before, op) && op.AuthorizationPath != "" {
		c.all.claim(c, op.Issuer, op.Origin+op.AuthorizationPath)
	}
	return c.yields.Load()
}

// claim notes whose endpoint it is, and decides anew which block serves each.
func (e *Endpoints) claim(c *Claim, issuer, endpoint string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.issuer, c.endpoint = issuer, endpoint
	owners := make(map[string]string) // the issuers that serve endpoints
	for _, claim := range e.claims {
		if claim.endpoint == "" {
			continue
		}
		owner, known := owners[claim.endpoint]
		if !known {
			owner = claim.issuer
			owners[claim.endpoint] = owner
		}
		yields := owner != claim.issuer
		claim.yields.Store(yields)
		if pair := [2]string{owner, claim.issuer}; yields && !e.logged[pair] {
			e.logged[pair] = true
			e.logger.Error("two oidc_session blocks are for one OP: the second does nothing",
				zap.String("authorization_endpoint", claim.endpoint),
				zap.String("issuer", owner), zap.String("second_issuer", claim.issuer),
				zap.String("advice", "write one block with both issuers"))
		}
	}
}
