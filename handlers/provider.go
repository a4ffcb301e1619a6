package handlers

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

const (
	// MetadataWait is how long a request waits for the first document of the OP.
	MetadataWait = 2 * time.Second
	// metadataMaxAge is how old a document gets before the OP is asked again, behind the requests.
	metadataMaxAge = 10 * time.Minute
)

// A Provider discovers the OP of one site, by asking the OP itself, through the handlers behind,
// while requests are being served. Its zero value discovers the issuer, too. Use Setup before all
// else.
type Provider struct {
	// Issuers are the issuer identifiers of the OP; the last path segment of one may be *.
	//
	// Default: the issuer of the OP's own document, whose origin must be the request's.
	Issuers []string
	// Discovery are the paths of documents that are not at their issuers' own paths. One segment
	// of each may be *.
	Discovery []string

	// CheckSessionPath is the configured path of the check page. A request for it waits until the
	// issuer is discovered, whose cookie the page reads.
	//
	// Default: DefaultCheckSessionPath.
	CheckSessionPath string

	// Notifies reports whether clients may be notified, by tokens that they verify with the OP's
	// keys, to which ours are added. Then requests by no browser wait until it is discovered where
	// the OP's keys are: a client that fetches them without ours refuses a token permanently.
	// Nil: no client is.
	Notifies func() bool

	// Discovered is called with the OP whenever a document of it was read. Nil: it is not.
	Discovered func(op *OP)

	env   Env
	known atomic.Pointer[OP] // with its endpoints; nil before the first document
	named *OP                // by Issuers alone; nil where the issuer is to be discovered

	Refresher[discovered]
	documents documents
}

// A discovered is what a document says of its OP, and which endpoints cannot be observed.
type discovered struct {
	op        *OP
	elsewhere []string
}

// Setup takes what the handlers share. Its errors wrap ErrIssuer or ErrPath.
func (p *Provider) Setup(env Env) error {
	p.env = env
	if len(p.Issuers) == 0 {
		return ValidateDiscoveryAlone(p.Discovery)
	}
	op, err := p.newOP(p.Issuers...)
	if err != nil {
		return err
	}
	p.named = op
	p.warnOfPlainHTTP(op)
	return nil
}

// newOP returns what is configured of an OP.
func (p *Provider) newOP(issuers ...string) (*OP, error) {
	op, err := NewOP(issuers...)
	if err != nil || len(p.Discovery) == 0 {
		return op, err
	}
	return op.withDocumentPaths(p.Discovery)
}

// Named returns the OP as its document or its configured issuer has it; nil: its issuer is not yet
// discovered.
func (p *Provider) Named() *OP {
	if op := p.known.Load(); op != nil {
		return op
	}
	return p.named
}

// Find returns the OP that a request is for; nil: the request is for another host, or the issuer is
// not yet discovered.
//
// Before the first document is there, a request waits for it, at most MetadataWait, unless it needs
// no endpoint of the OP.
func (p *Provider) Find(r *http.Request, next caddyhttp.Handler) *OP {
	op := p.Named()
	if op != nil && !op.Serves(r) {
		return nil
	}
	if p.known.Load() == nil && p.mayBeInvolved(r) {
		p.recall(r.Context())
		Await(r,
			func() (<-chan struct{}, bool) { return p.ask(r, next) },
			func() bool { return p.known.Load() != nil })
	}
	op = p.Named() // maybe discovered meanwhile
	if op == nil || !op.Serves(r) {
		return nil
	}
	return p.complete(op, r, next)
}

// mayBeInvolved reports whether a request may be one that is observed or answered, as far as can be
// said without the OP's endpoints: OAuth requests have parameters, what follows them has cookies,
// and documents and the check page have well-known paths.
func (p *Provider) mayBeInvolved(r *http.Request) bool {
	return r.Method != http.MethodGet || r.URL.RawQuery != "" || len(r.Header["Cookie"]) > 0 ||
		strings.HasSuffix(r.URL.Path, WellKnown) ||
		new(OP).IsAt(r.URL.Path, p.CheckSessionPath, DefaultCheckSessionPath) ||
		p.mayBeForKeys(r)
}

// mayBeForKeys reports whether a request may be for the OP's keys, as far as can be said without
// the OP's document: browsers say what they ask for (Fetch Metadata, section 2.1).
func (p *Provider) mayBeForKeys(r *http.Request) bool {
	return p.Notifies != nil && r.Header.Get("Sec-Fetch-Dest") == "" && p.Notifies()
}

// Refresh has the document asked for again when it has become old. The request does not wait.
func (p *Provider) Refresh(r *http.Request, next caddyhttp.Handler) {
	p.ask(r, next)
	p.refreshAt(r.URL.Path, r, next)
}

// ask asks the OP for its document: see [Refresher.Ask].
func (p *Provider) ask(r *http.Request, next caddyhttp.Handler) (flight <-chan struct{}, own bool) {
	return p.Ask(p.env.Now, CallerOf(r, next), func() *Inquiry[discovered] {
		target := p.target(r)
		if target == nil {
			return nil
		}
		sub, err := NewSubRequest(p.env, r, next, target.discoveryURL())
		if err != nil {
			p.env.Logger.Error("cannot ask the OP for its discovery document", zap.Error(err))
			return nil
		}
		if p.named == nil {
			sub.forwardAs(r)
		}
		return &Inquiry[discovered]{
			Fetch: func() (discovered, error) { return p.fetch(target, sub) },
			Every: metadataMaxAge,
			Keep: func(d discovered) func() {
				p.keep(d)
				return nil
			},
			Failed: func(err error, worse bool) {
				if worse {
					p.logFailure(target, err)
				}
			},
		}
	})
}

// target returns the OP to ask: the one known by name, or the one that the request's host would be;
// nil if that cannot be, since Caddy matches hosts whatever their port, and an OP may name itself
// by the Host it is sent.
func (p *Provider) target(r *http.Request) *OP {
	if op := p.base(); op != nil {
		return op.askedAt(p.documents.path(p.known.Load()))
	}
	op, err := p.newOP(schemeOf(r) + "://" + r.Host)
	if err != nil || !isListenersPort(r) {
		return nil
	}
	return op
}

// isListenersPort reports whether a request's Host has the port that it came to, or none.
func isListenersPort(r *http.Request) bool {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	_, listening, err := net.SplitHostPort(local.String())
	return err == nil && port == listening
}

// fetch asks the OP for its document and reads it.
func (p *Provider) fetch(target *OP, sub *subRequest) (discovered, error) {
	document, err := sub.Document(exchange.IsJSON)
	if err != nil {
		return discovered{}, p.advise(err)
	}
	return p.read(target, document)
}

// read reads the OP's document, which must be that of the OP that was asked for.
func (p *Provider) read(target *OP, document []byte) (d discovered, err error) {
	m, err := parseMetadata(document)
	if err != nil {
		return d, err
	}
	if !target.Issues(m.Issuer) {
		if len(p.Issuers) > 0 {
			return d, fmt.Errorf("the document is that of issuer %q, but issuer %q is configured",
				m.Issuer, strings.Join(p.Issuers, " "))
		}
		if target, err = p.newOPAt(target.Host, m.Issuer); err != nil {
			return d, err
		}
	}
	d.op, d.elsewhere = target.With(m)
	return d, nil
}

// newOPAt returns the OP of a document that was found at a host, which must be the issuer's own.
// The issuer's scheme may be another: another server may end TLS in front of Caddy.
func (p *Provider) newOPAt(host, issuer string) (*OP, error) {
	op, err := p.newOP(issuer)
	if err != nil {
		return nil, err
	}
	if op.HasSeveralIssuers() {
		return nil, fmt.Errorf("%w %q: a * names issuers only where it is configured",
			ErrIssuer, issuer)
	}
	if op.Host != host {
		return nil, fmt.Errorf("the document is that of issuer %q, which is not at host %q: "+
			"configure the issuer", issuer, host)
	}
	return op, nil
}

// keep takes what a document of the OP says. The caller holds the lock.
func (p *Provider) keep(d discovered) {
	op := d.op
	if p.named != nil && p.named.DiscoveryPath != "" {
		op.DiscoveryPath = p.named.DiscoveryPath // wherever this document was
	}
	before := p.known.Load()
	op = op.joined(before)
	p.known.Store(op)
	if p.Discovered != nil {
		p.Discovered(op)
	}
	if before != nil && p.trouble != 0 {
		p.env.Logger.Info("provider metadata available again", zap.String("issuer", op.Issuer))
	}
	if (before == nil || p.trouble != 0) && len(d.elsewhere) > 0 {
		p.env.Logger.Warn(
			"endpoints of the OP are missing or not on the issuer's origin, and cannot be observed",
			zap.String("issuer", op.Issuer), zap.Strings("endpoints", d.elsewhere))
	}
	if p.named == nil && before == nil {
		p.warnOfPlainHTTP(op)
	}
}

// Candidate returns the OP that an answer to a request would be the document of, while no OP was
// found for the request; nil: none.
func (p *Provider) Candidate(r *http.Request) *OP {
	if p.known.Load() != nil || !strings.HasSuffix(r.URL.Path, WellKnown) {
		return nil
	}
	if target := p.target(r); target != nil && target.Serves(r) && target.HasDocument(r.URL.Path) {
		return target
	}
	return nil
}

// Observe takes the OP's document from a response that passes through to a client, as if we had
// asked for it: the client may get through where our request does not. It returns the OP as it is
// known then; nil: its issuer is not yet discovered.
//
// What the client sent may be in the response: some OPs write their URLs by what a request says
// (X-Forwarded-Prefix, a query). So our own request has the last word, and a response that would
// leave nothing to observe is not believed. Nor is one that names an issuer whose document is
// elsewhere: our requests would go there from then on.
func (p *Provider) Observe(target *OP, r *http.Request, document []byte) *OP {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	known := p.known.Load()
	if known != nil && p.trouble == 0 && known.hasObserved(r.URL.Path) {
		return known
	}
	d, err := p.read(target.at(r.URL.Path), document)
	if err != nil || d.op.AuthorizationPath == "" ||
		r.URL.RawQuery != "" || !d.op.HasDocument(r.URL.Path) {
		return cmp.Or(known, p.named)
	}
	p.keep(d)
	return p.known.Load()
}

func (p *Provider) logFailure(target *OP, err error) {
	fields := FailureFields(err, zap.String("url", target.discoveryURL()))
	switch {
	case p.known.Load() != nil:
		p.env.Logger.Warn("the OP's discovery document cannot be refreshed; "+
			"what is known of it stays in use", fields...)
	case p.trouble == refusedSome:
		p.env.Logger.Warn("the OP's discovery document is refused; "+
			"sign-ins pass without session management until it is not", fields...)
	default:
		p.env.Logger.Error("discovery document of the OP unavailable: "+
			"its sign-ins pass without session management until it is there", fields...)
	}
}

// advise says what to do where something else than a discovery document is at its path, such as on
// the site of an app.
func (p *Provider) advise(err error) error {
	failure := new(OPError)
	if !errors.As(err, &failure) ||
		failure.Status != http.StatusNotFound && failure.Status != http.StatusOK {
		return err
	}
	switch {
	case p.named == nil:
		failure.advice = "put oidc_session on the site of the OP, not of an app, " +
			"and configure the issuer if it has a path"
	case failure.Status == http.StatusNotFound:
		failure.advice = "correct the issuer, or set discovery to the path of the OP's document"
	}
	return err
}

func (p *Provider) warnOfPlainHTTP(op *OP) {
	if !op.Cookies.Trustworthy {
		p.env.Logger.Warn("the issuer is on plain http: "+
			"browsers will not show its cookies to the check page in other sites' pages",
			zap.String("issuer", op.Issuer))
	}
}
