package handlers

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Endpoints are the authorization endpoints of the OPs of one configuration, by who serves
// them. Two OPs cannot have one: each answer would get the session of both, and what follows
// would be read by the wrong one.
type Endpoints struct {
	logger *zap.Logger

	mu     sync.Mutex
	claims []*Claim // in the order of the configuration
	told   map[[2]string]bool
}

// NewEndpoints returns those of a configuration without OPs.
func NewEndpoints(logger *zap.Logger) *Endpoints {
	return &Endpoints{logger: logger, told: make(map[[2]string]bool)}
}

// A Claim is what one handler says of its OP.
type Claim struct {
	all   *Endpoints
	taken atomic.Bool
	seen  atomic.Pointer[OP]

	issuer, endpoint string // empty: not known yet
}

// Provisioned takes in a handler. Those that came before it go before it.
func (e *Endpoints) Provisioned() *Claim {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &Claim{all: e}
	e.claims = append(e.claims, c)
	return c
}

// Yields reports whether the OP's authorization endpoint is that of an OP that is configured
// before it, which is the one to serve it then. It is asked with every request, and looks only
// at what is new.
func (c *Claim) Yields(op *OP) bool {
	if before := c.seen.Load(); before != op && c.seen.CompareAndSwap(before, op) && op.AuthorizationPath != "" {
		c.all.claim(c, op.Issuer, op.Origin+op.AuthorizationPath)
	}
	return c.taken.Load()
}

// claim notes whose endpoint it is, and decides anew who serves it.
func (e *Endpoints) claim(c *Claim, issuer, endpoint string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.issuer, c.endpoint = issuer, endpoint
	first := make(map[string]string) // the issuers that serve endpoints
	for _, claim := range e.claims {
		if claim.endpoint == "" {
			continue
		}
		owner, known := first[claim.endpoint]
		if !known {
			owner = claim.issuer
			first[claim.endpoint] = owner
		}
		claim.taken.Store(owner != claim.issuer)
		if pair := [2]string{owner, claim.issuer}; owner != claim.issuer && !e.told[pair] {
			e.told[pair] = true
			e.logger.Error("two oidc_session blocks are for one OP: the second does nothing",
				zap.String("authorization_endpoint", claim.endpoint), zap.String("issuer", owner), zap.String("second_issuer", claim.issuer),
				zap.String("advice", "write one block with both issuers"))
		}
	}
}
