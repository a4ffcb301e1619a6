package handlers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// maxAsked is how many further documents of an OP are asked for at once.
	maxAsked = 4
	// recallRetryIn is how often the registry is asked where a document is.
	recallRetryIn = time.Second
)

// documents are what a Provider needs where an OP has several discovery documents. The zero value
// is ready.
type documents struct {
	recalling sync.Mutex
	recalled  time.Time // when the registry was asked

	mu         sync.Mutex
	refreshers Lately[*Refresher[discovered]] // by path
	flights    int                            // how many of them are asking
	remembered string                         // path of a document in the registry; or empty
}

// path is where to ask for a document if the configuration does not name one; empty: none was
// observed.
func (d *documents) path(known *OP) string {
	if known != nil {
		return known.DiscoveryPath
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.remembered
}

// base is the OP that what a document says is added to; nil: its issuer is not yet discovered.
func (p *Provider) base() *OP {
	if p.named != nil {
		return p.named
	}
	if op := p.known.Load(); op != nil {
		return op.at(op.DiscoveryPath)
	}
	return nil
}

// askedAt returns the OP with the path at which it is asked, unless its configuration says it; nil:
// there is none.
func (op *OP) askedAt(path string) *OP {
	if op.DiscoveryPath != "" {
		return op
	}
	if path == "" {
		return nil
	}
	asked := *op
	asked.DiscoveryPath = path
	return &asked
}

// recall asks the registry where a document of the OP was observed, if nothing else says it:
// clients that have their documents already do not fetch them because Caddy was started again.
func (p *Provider) recall(ctx context.Context) {
	if p.named == nil || p.named.DiscoveryPath != "" {
		return
	}
	d := &p.documents
	d.recalling.Lock()
	defer d.recalling.Unlock()
	now := p.env.Now()
	if d.path(p.known.Load()) != "" || now.Sub(d.recalled) < recallRetryIn {
		return
	}
	d.recalled = now
	// the registry may just be opening
	ctx, cancel := context.WithTimeout(registry.Patient(ctx), MetadataWait)
	defer cancel()
	facts, err := p.env.Registry.Facts(ctx, p.named.Issuer)
	if err != nil {
		LogUnrecorded(p.env.Logger, "where the OP's discovery document is, is not known", err)
		return
	}
	if p.named.HasDocument(facts.Discovery) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.remembered = facts.Discovery
	}
}

// complete returns the OP with the document that a request is for, or that seems to name what it is
// for, if that was not observed yet: a client that has had its document for long asks for keys
// alone. The request waits for it, at most MetadataWait.
func (p *Provider) complete(op *OP, r *http.Request, next caddyhttp.Handler) *OP {
	path := op.guessedDocument(r.URL.Path)
	if path == "" && op.HasDocument(r.URL.Path) && !op.hasObserved(r.URL.Path) {
		path = r.URL.Path
	}
	if path == "" {
		return op
	}
	p.awaitAt(path, r, next)
	if known := p.known.Load(); known != nil {
		return known
	}
	return op
}

// As returns an OP as one of its issuers has it, with that issuer's keys and algorithms. If the
// issuer's document was not observed, it is asked for; the request waits for it, at most
// MetadataWait. Without a document, the OP has no keys.
func (p *Provider) As(op *OP, issuer string, r *http.Request, next caddyhttp.Handler) *OP {
	if !op.HasSeveralDocuments() || !op.Issues(issuer) {
		return op
	}
	if view := op.As(issuer); view != nil {
		return view
	}
	p.awaitAt(op.ownDocumentPath(issuer), r, next)
	if known := p.known.Load(); known != nil {
		if view := known.As(issuer); view != nil {
			return view
		}
	}
	unknown := *p.base()
	unknown.DocumentIssuer = issuer
	return &unknown
}

// refreshAt has one of several documents asked for again, that a client asks for just now, when it
// has become old. The request does not wait.
func (p *Provider) refreshAt(path string, r *http.Request, next caddyhttp.Handler) {
	base := p.base()
	if base == nil || !base.HasSeveralDocuments() || !base.HasDocument(path) {
		return
	}
	f := p.documents.at(path)
	f.Mu.Lock()
	old := p.env.Now().Sub(f.began) >= metadataMaxAge
	f.Mu.Unlock()
	if old {
		p.askAt(path, r, next)
	}
}

// at returns what asks for a document.
func (d *documents) at(path string) *Refresher[discovered] {
	d.mu.Lock()
	defer d.mu.Unlock()
	type refresher = Refresher[discovered]
	return d.refreshers.Get(path, func() *refresher { return new(refresher) })
}

// acquire reports whether another request may be sent, which ends with release.
func (d *documents) acquire() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flights >= maxAsked {
		return false
	}
	d.flights++
	return true
}

func (d *documents) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flights--
}

// awaitAt waits for one of the OP's documents, at most MetadataWait.
func (p *Provider) awaitAt(path string, r *http.Request, next caddyhttp.Handler) {
	Await(r, func() (<-chan struct{}, bool) { return p.askAt(path, r, next) }, func() bool {
		known := p.known.Load()
		return known != nil && known.hasObserved(path)
	})
}

// askAt asks for one of the OP's documents, unless too many are asked for: see [Refresher.Ask].
func (p *Provider) askAt(
	path string, r *http.Request, next caddyhttp.Handler,
) (flight <-chan struct{}, own bool) {
	return p.documents.at(path).Ask(p.env.Now, CallerOf(r, next), func() *Inquiry[discovered] {
		if !p.documents.acquire() {
			return nil
		}
		target := p.base().at(path)
		sub, err := NewSubRequest(p.env, r, next, target.discoveryURL())
		if err != nil {
			p.documents.release()
			return nil
		}
		return &Inquiry[discovered]{
			Fetch: func() (discovered, error) {
				defer p.documents.release()
				return p.fetch(target, sub)
			},
			Keep: func(d discovered) func() {
				return func() {
					p.Mu.Lock()
					defer p.Mu.Unlock()
					p.keep(d)
				}
			},
			Failed: func(err error, _ bool) {
				p.env.Logger.Debug("discovery document unavailable",
					FailureFields(err, zap.String("url", target.discoveryURL()))...)
			},
		}
	})
}
