package guard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	// maxCookies is how many cookies a request may have: browsers send 180 at most.
	maxCookies = 512
	// maxFits is how many certificates of one name are tried for a value.
	maxFits = 8
	// maxCookieHeader is how long the Cookie header that an app gets is with certificates, in
	// bytes: Node takes 16 KiB of all fields, Apache 8190 bytes of one.
	maxCookieHeader = 8 << 10
)

// A passage is one request on its way to the app, and the response to it.
type passage struct {
	*Guard

	writer  http.ResponseWriter
	request *http.Request
	path    string // that the browser asked for: handlers behind may change the request's URL
	site    *site
	now     time.Time
	decides func(status int, header http.Header) *exchange.Hold // decide, made once

	cookies      []presented
	certificates []certificate
	refused      []int // of cookies
	session      sessionstate.SessionID
	newcomers    owner               // whom new cookies belong to; the zero one: not known yet
	adopting     sessionstate.Serial // of cookies that are adopted beside those of a session
	unknown      error               // why it is not known whether a session lives
	keyless      bool                // the keys are unavailable

	attempts []*attempt
	set      []setCookie
	decided  bool
	teaches  bool               // cookies that were there before the sign-in may be session cookies
	outlasts context.CancelFunc // of a sign-in's request, which goes on without its client
	client   context.Context    // the client's own
	cancel   context.CancelFunc // of a request that asks for a stream; nil: it does not
	stream   *stream
}

// A presented cookie is one of a request, but no certificate.
type presented struct {
	name, value string
	certifiedBy certificateID // where the request has certificates
	known       bool          // it is, or may be, a session cookie: it is judged
	verdict     verdict
	by          *certificate // by which it was judged; nil: none fits
	disguised   bool         // it may be a session cookie under another name: it is refused
}

// A certificate is one of a request.
type certificate struct {
	sessionstate.Certificate
	id            certificateID
	name, sealed  string
	named         bool // its cookie is in the request
	opened, valid bool
	judged        bool
	verdict       verdict
	sessions      []sessionstate.SessionID // those that the serial leads to
}

// An owner is whom a cookie belongs to, as its certificate says: a session, or a serial.
type owner struct {
	session  sessionstate.SessionID
	serial   sessionstate.Serial
	signedIn bool // the serial leads to sessions
}

// owner returns whom the certificate's cookie belongs to. One session is as good as the serial that
// leads to it; of several, none may be left out.
func (c *certificate) owner() owner {
	if len(c.sessions) > 1 {
		return owner{serial: c.Serial, signedIn: true}
	}
	if c.Session.IsZero() {
		return owner{serial: c.Serial}
	}
	return owner{session: c.Session, signedIn: true}
}

// A verdict says what becomes of a cookie.
type verdict int

// The verdicts, from worst to best: of several certificates that fit, the best one counts.
const (
	refused verdict = iota
	unknown         // the registry cannot be asked
	adopted         // it has no certificate, and gets one
	unbound         // it belongs to no session
	live            // it belongs to a session that lives
)

// errTooMany says that a request has more cookies than any browser sends.
var errTooMany = errors.New("the request has too many cookies")

func (p *passage) serve(w http.ResponseWriter, next caddyhttp.Handler) error {
	p.writer = w
	p.site = p.sites.of(p.request, p.now)
	if !p.readCookies() {
		return caddyhttp.Error(http.StatusRequestHeaderFieldsTooLarge, errTooMany)
	}
	for i := range p.cookies {
		p.judge(&p.cookies[i])
	}
	p.refuseForged()
	p.refuseManySerials()
	p.findOwner()
	if !p.AllowUnknown && p.has(unknown) {
		return p.unavailable(w)
	}
	p.refuseAll()
	p.expose()
	p.readSignIn()
	if len(p.refused) > 0 {
		if p.respondsItself() {
			return p.answer(w)
		}
		p.strip()
	}
	p.shorten()
	p.outlast()
	p.mayStream()
	err := exchange.Observe(w, p.request, next, p.decides)
	switch {
	case p.decided:
	case err == nil: // a 200 that the handlers behind leave to net/http
		p.decide(http.StatusOK, w.Header())
	default: // the app may have signed the user in all the same
		p.bind(http.StatusBadGateway)
	}
	return err
}

// requestedPath returns the path of a request as its browser knows it.
func requestedPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// readCookies reads the request's cookies. ok is false when there are too many.
func (p *passage) readCookies() (ok bool) {
	if len(p.request.Header["Cookie"]) == 0 {
		return true
	}
	for name, value := range exchange.Cookies(p.request) {
		id, isCertificate := parseCertificateName(name)
		switch {
		case len(p.cookies)+len(p.certificates) == maxCookies:
			return false
		case isCertificate:
			p.certificates = append(p.certificates, certificate{id: id, name: name, sealed: value})
		case strings.Trim(value, `"`) != "":
			p.cookies = append(p.cookies, presented{name: name, value: value})
		}
	}
	return true
}

// judge decides on a cookie. One that is no session cookie passes.
func (p *passage) judge(c *presented) {
	known, found := p.site.find(c.name)
	switch {
	case p.ignores(c.name):
		return
	case found:
		c.certifiedBy = known.id
	case p.hasOtherCertificates():
		c.certifiedBy = certificateIDOf(c.name)
	}
	if !found && !p.isCertified(c.certifiedBy) {
		c.disguised = p.isDisguised(c)
		c.known = c.disguised
		return
	}
	c.known = true
	p.judgeBy(c)
	switch {
	case c.by == nil && p.keyless:
		c.verdict = unknown
	case c.by == nil && found && p.adopts(known):
		c.verdict = adopted
	}
}

// hasOtherCertificates reports whether a certificate may be that of a cookie that was not judged
// yet: only then is it worth while to find out what the certificate of an unknown one is.
func (p *passage) hasOtherCertificates() bool {
	return slices.ContainsFunc(p.certificates, func(c certificate) bool { return !c.named })
}

// has reports whether a verdict was passed on a session cookie of the request.
func (p *passage) has(v verdict) bool {
	return slices.ContainsFunc(p.cookies, func(c presented) bool {
		return c.known && c.verdict == v
	})
}

// judgeBy decides on a cookie by the best of the certificates that fit.
func (p *passage) judgeBy(c *presented) {
	for tried, i := 0, 0; i < len(p.certificates) && tried < maxFits; i++ {
		certificate := &p.certificates[i]
		if certificate.id != c.certifiedBy {
			continue
		}
		tried++
		certificate.named = true
		if p.open(certificate) && certificate.IsFor(c.name, c.value, p.site.host) {
			p.judgeCertificate(certificate)
			if c.by == nil || certificate.verdict > c.verdict {
				c.by, c.verdict = certificate, certificate.verdict
			}
		}
	}
}

// refuseForged refuses, of several cookies of one name at one place, those that belong to others
// than the best one: no browser has two there. Else the response to one of them could be taken for
// one to another, and whoever plants a cookie of his own beside a user's could have it taken for
// that.
func (p *passage) refuseForged() {
	for i := range p.cookies {
		best := &p.cookies[i]
		if best.by == nil || best.verdict == refused {
			continue
		}
		for j := range p.cookies {
			if c := &p.cookies[j]; p.isBeside(c, best) && c.verdict > best.verdict {
				best = c
			}
		}
		for j := range p.cookies {
			if c := &p.cookies[j]; p.isBeside(c, best) && c.by.owner() != best.by.owner() {
				c.verdict, c.by = refused, nil // the certificate's place is that of the best one
			}
		}
	}
}

// isBeside reports whether two cookies that pass are of one name and at one place.
func (p *passage) isBeside(c, other *presented) bool {
	return c.by != nil && c.verdict != refused && c.name == other.name &&
		scopeOf(c.by) == scopeOf(other.by)
}

// maxSerials is how many serials the cookies of one request have: browsers get one, or a few if
// cookies were set by requests at the same time. Each costs a record at a sign-in.
const maxSerials = 8

// refuseManySerials refuses cookies beyond that: no browser has got them.
func (p *passage) refuseManySerials() {
	var serials [maxSerials]sessionstate.Serial
	count := 0
	for i := range p.cookies {
		c := &p.cookies[i]
		switch {
		case c.verdict != unbound || slices.Contains(serials[:count], c.by.Serial):
		case count == maxSerials:
			c.verdict, c.by = refused, nil
		default:
			serials[count] = c.by.Serial
			count++
		}
	}
}

// findOwner finds out which session the request belongs to, and whom new cookies do: the session of
// the first cookie that has one, else whoever the first one belongs to.
func (p *passage) findOwner() {
	for i := range p.cookies {
		c := &p.cookies[i]
		switch {
		case c.verdict == live && p.session.IsZero():
			p.session, p.newcomers = c.by.Session, c.by.owner()
		case c.verdict == unbound && p.newcomers == owner{}:
			p.newcomers = c.by.owner()
		}
	}
}

// isCertified reports whether the request has a certificate of ours for a cookie. What
// only looks like one teaches nothing: scripts and other sites can set it.
func (p *passage) isCertified(by certificateID) bool {
	for tried, i := 0, 0; i < len(p.certificates) && tried < maxFits; i++ {
		if certificate := &p.certificates[i]; certificate.id == by {
			tried++
			if p.open(certificate) || p.keyless {
				return true
			}
		}
	}
	return false
}

// open opens a certificate, once.
func (p *passage) open(c *certificate) bool {
	if c.opened {
		return c.valid
	}
	keys, err := p.env.Keys(p.request.Context())
	if err != nil {
		p.unknown, p.keyless = err, true
		return false
	}
	c.Certificate, err = keys.OpenCertificate(c.sealed)
	c.opened, c.valid = true, err == nil
	return c.valid
}

// judgeCertificate decides on a certificate, once. One without session belongs to the session that
// its browser signed in to afterwards: so does a copy that was made before.
func (p *passage) judgeCertificate(c *certificate) {
	if c.judged {
		return
	}
	c.judged = true
	ctx := p.request.Context()
	if c.Session.IsZero() {
		leadsTo, found, err := p.env.Registry.LeadsTo(ctx, serials, c.Serial)
		if err != nil || !found || len(leadsTo) < len(c.Session) {
			c.verdict = unbound
			return
		}
		c.sessions = splitSessions(leadsTo)
		c.Session = c.sessions[len(c.sessions)-1]
	} else {
		c.sessions = []sessionstate.SessionID{c.Session}
	}
	c.verdict = live
	for _, session := range c.sessions {
		alive, err := p.sessions.alive(ctx, session, p.now)
		switch {
		case err != nil:
			c.verdict, p.unknown = unknown, err
		case !alive:
			c.verdict = refused
			return
		}
	}
}

// splitSessions returns the sessions that a serial leads to.
func splitSessions(leadsTo string) (all []sessionstate.SessionID) {
	const size = len(sessionstate.SessionID{})
	for ; len(leadsTo) >= size; leadsTo = leadsTo[size:] {
		all = append(all, sessionstate.SessionID([]byte(leadsTo[:size])))
	}
	return all
}

// serials is what the registry has the serials of certificates under, in place of an issuer.
const serials = "oidc_guard"

// adopts reports whether a cookie without certificate passes: it may have been set before the guard
// was there.
func (p *passage) adopts(known name) bool {
	return p.Adopt > 0 && (known.since.IsZero() || p.now.Before(known.since.Add(p.Adopt)))
}

// shorten drops the certificates from a request whose cookies would else be longer than apps take.
// Otherwise apps get them, as they get all cookies: one that renders its pages itself sends them
// back to the site.
func (p *passage) shorten() {
	length := 0
	for _, line := range p.request.Header["Cookie"] {
		length += len(line)
	}
	if length > maxCookieHeader && len(p.certificates) > 0 {
		p.keepCookies(func(name, _ string) bool { return !isCertificateName(name) })
	}
}

// keepCookies takes cookies off the request; the others stay as they came. The header is changed in
// place, as Caddy's own request_header does: placeholders such as {http.request.cookie.NAME} read
// it there.
func (p *passage) keepCookies(keep func(name, value string) bool) {
	lines := p.request.Header["Cookie"]
	changed := make([]string, 0, len(lines))
	for _, line := range lines {
		var kept []string
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(pair, "=")
			if keep(strings.Trim(name, " \t"), strings.Trim(value, " \t")) {
				kept = append(kept, pair)
			}
		}
		if line = strings.Trim(strings.Join(kept, ";"), " \t"); line != "" {
			changed = append(changed, line)
		}
	}
	if len(changed) == 0 {
		p.request.Header.Del("Cookie")
		return
	}
	p.request.Header["Cookie"] = changed
}

// unavailable responds while the registry cannot be asked.
func (p *passage) unavailable(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", "5")
	exchange.ForbidCaching(w.Header())
	return caddyhttp.Error(http.StatusServiceUnavailable, p.unknown)
}

// release ends what a passage holds on to.
func (p *passage) release() {
	for _, a := range p.attempts {
		p.Guard.attempts.end(a)
	}
	if p.stream != nil {
		p.sessions.remove(p.stream)
	}
	if p.cancel != nil {
		p.cancel()
	}
	if p.outlasts != nil {
		p.outlasts()
	}
}

// reset empties a passage for the next request.
func (p *passage) reset() {
	clear(p.cookies)
	clear(p.certificates)
	clear(p.set)
	*p = passage{
		decides: p.decides, cookies: p.cookies[:0], certificates: p.certificates[:0],
		refused: p.refused[:0], set: p.set[:0],
	}
}
