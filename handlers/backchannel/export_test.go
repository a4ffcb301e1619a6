package backchannel

import (
	"context"
	"sync/atomic"
)

// What the tests beside this package use of it.

func (x *BackChannel) Seen() *opFacts { return x.seen }

func (x *BackChannel) View() *atomic.Pointer[keyPublication] { return &x.view }

func (x *keyPublication) OPOwned() bool { return x.opOwned }

var ErrUnknownPast = errUnknownPast

const FactsRetryIn = factsRetryIn

const FactsDay = factsDay

const MissingFor = missingFor

const DocumentAgain = documentAgain

func (x *opFacts) Refresh(ctx context.Context, issuer string) bool { return x.refresh(ctx, issuer) }

const PublishedFor = publishedFor

const PublishedAgain = publishedAgain

var SignedBy = signedBy
