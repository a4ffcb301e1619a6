package guard

import (
	"context"
	"errors"
	"net/http"
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

	request *http.Request
	site    *site
	now     time.Time
	decides func(status int, header http.Header) *exchange.Hold // decide, made once

	cookies      []presented
	certificates []certificate
	refused      []int // of cookies
	session      sessionstate.SessionID
	unknown      error // why it is not known whether a session lives
	keyless      bool  // the keys are unavailable
	serial       sessionstate.Serial

	attempts []*attempt
	decided  bool // the header of the response was final
	set      []setCookie
	cancel   context.CancelFunc // of the request; nil: no stream would be closed
	stream   *stream
}

// A presented cookie is one of a request, but no certificate.
type presented struct {
	name, value string
	known       bool // it is, or may be, a session cookie: it is judged
	verdict     verdict
	by          *certificate // by which it was judged; nil: none fits
}

// A certificate is one of a request.
type certificate struct {
	sessionstate.Certificate
	name, sealed  string
	opened, valid bool
	judged        bool
	verdict       verdict
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
	p.site = p.sites.of(p.request)
	if !p.readCookies() {
		return caddyhttp.Error(http.StatusRequestHeaderFieldsTooLarge, errTooMany)
	}
	for i := range p.cookies {
		p.judge(&p.cookies[i])
	}
	if !p.AllowUnknown && p.has(unknown) {
		return p.unavailable(w)
	}
	p.refuseAll()
	p.expose()
	if len(p.refused) > 0 {
		if p.answersItself() {
			return p.answer(w)
		}
		p.strip()
	}
	p.shorten()
	p.readSignIn()
	p.mayStream()
	err := exchange.Observe(w, p.request, next, p.decides)
	if err == nil && !p.decided { // net/http sends the header when nobody has written anything
		p.decide(http.StatusOK, w.Header())
	}
	return err
}

// readCookies reads the request's cookies. ok is false when there are too many.
func (p *passage) readCookies() (ok bool) {
	if len(p.request.Header["Cookie"]) == 0 {
		return true
	}
	for name, value := range exchange.Cookies(p.request) {
		switch {
		case len(p.cookies)+len(p.certificates) == maxCookies:
			return false
		case isCertificateName(name):
			p.certificates = append(p.certificates, certificate{name: name, sealed: value})
		case name != "" && value != "":
			p.cookies = append(p.cookies, presented{name: name, value: value})
		}
	}
	return true
}

// judge decides on a cookie. One that is no session cookie passes.
func (p *passage) judge(c *presented) {
	known, found := p.site.find(c.name)
	if !found && !p.isCertified(c.name) || p.ignores(c.name) || p.isLaterChunk(c.name) {
		return
	}
	c.known = true
	p.tryCertificates(c)
	switch {
	case c.by == nil && p.keyless:
		c.verdict = unknown
	case c.by == nil && found && p.adopts(known):
		c.verdict = adopted
	case c.verdict == live && p.session.IsZero():
		p.session = c.by.Session
	case c.verdict == unbound && p.serial == sessionstate.Serial{}:
		p.serial = c.by.Serial
	}
}

// has reports whether a verdict was passed on a cookie of the request.
func (p *passage) has(v verdict) bool {
	for i := range p.cookies {
		if c := &p.cookies[i]; c.known && c.verdict == v {
			return true
		}
	}
	return false
}

// tryCertificates finds the best of the certificates that fit a cookie.
func (p *passage) tryCertificates(c *presented) {
	tried := 0
	for i := range p.certificates {
		certificate := &p.certificates[i]
		if tried == maxFits || !isCertificateOf(certificate.name, c.name) {
			continue
		}
		tried++
		if !p.open(certificate) || !certificate.IsFor(c.name, c.value, p.site.host) {
			continue
		}
		p.judgeCertificate(certificate)
		if c.by == nil || certificate.verdict > c.verdict {
			c.by, c.verdict = certificate, certificate.verdict
		}
	}
}

// isCertified reports whether the request has a certificate for a cookie of a name.
func (p *passage) isCertified(name string) bool {
	for i := range p.certificates {
		if isCertificateOf(p.certificates[i].name, name) {
			return true
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
		session, found, err := p.env.Registry.LeadsTo(ctx, serials, c.Serial)
		if err != nil || !found || len(session) != len(c.Session) {
			c.verdict = unbound
			return
		}
		c.Session = sessionstate.SessionID([]byte(session))
	}
	alive, err := p.sessions.alive(ctx, c.Session)
	switch {
	case err != nil:
		c.verdict, p.unknown = unknown, err
	case alive:
		c.verdict = live
	}
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

// keepCookies takes cookies off the request. The header is changed in place, as Caddy's own
// request_header does: placeholders such as {http.request.cookie.NAME} read it there.
func (p *passage) keepCookies(keep func(name, value string) bool) {
	var kept []string
	for name, value := range exchange.Cookies(p.request) {
		if keep(name, value) && (name != "" || value != "") {
			kept = append(kept, name+"="+value)
		}
	}
	if len(kept) == 0 {
		p.request.Header.Del("Cookie")
		return
	}
	p.request.Header["Cookie"] = []string{strings.Join(kept, "; ")}
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
