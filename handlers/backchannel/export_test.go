package backchannel

import "context"

// What the tests beside this package use of it.

var (
	ErrFactsUnavailable = errFactsUnavailable
	SignedBy            = signedBy
)

const (
	FactsRetryIn   = factsRetryIn
	FactsDay       = factsDay
	MissingFor     = missingFor
	DocumentAgain  = documentAgain
	PublishedFor   = publishedFor
	PublishedAgain = publishedAgain
)

func (b *BackChannel) Facts() *opFacts                             { return b.facts }
func (b *BackChannel) Publication() *keyPublication                { return b.publication.Load() }
func (p *keyPublication) OPOwned() bool                            { return p.opOwned }
func (f *opFacts) Refresh(ctx context.Context, issuer string) bool { return f.refresh(ctx, issuer) }
