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

	mu      sync.Mutex
	asked   lately[*asking] // by path
	flights int             // how many questions are under way
	known   string          // the path of the document that the registry remembers; empty: it does not
}

// place is the path to ask for a document where the configuration does not say it; empty: none was
// seen.
func (d *documents) place(known *OP) string {
	if known != nil {
		return known.DiscoveryPath
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known
}

// base is the OP that what a document says is added to; nil: nothing is known of the OP.
func (p *Provider) base() *OP {
	if p.named != nil {
		return p.named
	}
	if op := p.known.Load(); op != nil {
		return op.at(op.DiscoveryPath)
	}
	return nil
}

// askedAt returns the OP with the path at which it is asked, unless its configuration says it;
// nil: there is none.
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

// recall asks the registry where a document of the OP was seen, if nothing else says it: clients
// that have their documents already do not fetch them because Caddy was started again.
func (p *Provider) recall(ctx context.Context) {
	if p.named == nil || p.named.DiscoveryPath != "" {
		return
	}
	d := &p.documents
	d.recalling.Lock()
	defer d.recalling.Unlock()
	now := p.env.Now()
	if d.place(p.known.Load()) != "" || now.Sub(d.recalled) < recallRetryIn {
		return
	}
	d.recalled = now
	ctx, cancel := context.WithTimeout(registry.Patient(ctx), metadataWait) // the registry may just be opening
	defer cancel()
	facts, err := p.env.Registry.Facts(ctx, p.named.Issuer)
	if err != nil {
		unrecorded(p.env.Logger, "where the OP's discovery document is, is not known", err)
		return
	}
	if p.named.HasDocument(facts.Discovery) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.known = facts.Discovery
	}
}

// complete returns the OP, with the document that a request is for, or that seems to name what it
// is for, if that was not seen yet: a client that has had its document for long asks for keys
// alone. The request waits for it, at most two seconds.
func (p *Provider) complete(op *OP, r *http.Request, next caddyhttp.Handler) *OP {
	path := op.unseen(r.URL.Path)
	if path == "" && op.hasSeveralDocuments() && op.HasDocument(r.URL.Path) && op.byDocument(r.URL.Path) == nil {
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

// As returns an OP as one of its issuers has it, with that issuer's keys and algorithms. Where the
// issuer's document was not seen, it is asked for; the request waits for it, at most two seconds.
// What is not found has no keys.
func (p *Provider) As(op *OP, issuer string, r *http.Request, next caddyhttp.Handler) *OP {
	if !op.hasSeveralDocuments() || !op.issues(issuer) {
		return op
	}
	if view := op.as(issuer); view != nil {
		return view
	}
	p.awaitAt(op.ownPlace(issuer), r, next)
	if known := p.known.Load(); known != nil {
		if view := known.as(issuer); view != nil {
			return view
		}
	}
	unknown := *p.base()
	unknown.issuer = issuer
	return &unknown
}

// refreshAt has one of several documents asked for again, that a client asks for just now, when it
// has become old. The request does not wait.
func (p *Provider) refreshAt(path string, r *http.Request, next caddyhttp.Handler) {
	base := p.base()
	if base == nil || !base.hasSeveralDocuments() || !base.HasDocument(path) {
		return
	}
	d := &p.documents
	d.mu.Lock()
	old := p.env.Now().Sub(d.asked.get(path, newAsking).began) >= metadataMaxAge
	d.mu.Unlock()
	if old {
		p.askAt(path, r, next)
	}
}

func newAsking() *asking { return new(asking) }

// awaitAt waits for one of the OP's documents, at most two seconds.
func (p *Provider) awaitAt(path string, r *http.Request, next caddyhttp.Handler) {
	await(r, func() (<-chan struct{}, bool) { return p.askAt(path, r, next) }, func() bool {
		known := p.known.Load()
		return known != nil && known.hasSeen(path)
	})
}

// askAt starts a question for one of the OP's documents unless it is under way or it is too early
// for one, or too many are. It returns a channel that is closed when there is nothing more to wait
// for, and whether that is the request's own question.
func (p *Provider) askAt(path string, r *http.Request, next caddyhttp.Handler) (flight <-chan struct{}, own bool) {
	target, who := p.base().at(path), callerOf(r, next)
	d := &p.documents
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.asked.get(path, newAsking)
	if wait := a.blocked(p.env.Now(), who); wait != nil {
		return wait, false
	}
	if d.flights >= maxAsked {
		return over, false
	}
	question, err := newSubRequest(p.env, r, next, target.discoveryURL())
	if err != nil {
		return over, false
	}
	done := a.begin(p.env.Now())
	d.flights++
	go func() {
		defer close(done)
		p.finishAt(target, question, a, who)
	}()
	return done, true
}

func (p *Provider) finishAt(target *OP, question *subRequest, a *asking, who caller) {
	op, elsewhere, err := p.fetch(target, question)
	d, now := &p.documents, p.env.Now()
	d.mu.Lock()
	a.flight = nil
	d.flights--
	if err != nil {
		a.failed(now, who, err)
	} else {
		a.answered(now)
	}
	d.mu.Unlock()
	if err != nil {
		p.env.Logger.Debug("discovery document unavailable", failureFields(err, zap.String("url", target.discoveryURL()))...)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learnt(op, elsewhere)
}
