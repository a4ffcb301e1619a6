package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
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
	if p.unknown != nil && !p.AllowUnknown {
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
	return exchange.Observe(w, p.request, next, p.decides)
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
	for tried, i := 0, 0; i < len(p.certificates) && tried < maxFits; i++ {
		certificate := &p.certificates[i]
		if !isCertificateOf(certificate.name, c.name) {
			continue
		}
		tried++
		if p.open(certificate) && certificate.IsFor(c.name, c.value, p.site.host) {
			p.judgeCertificate(certificate)
			if c.by == nil || certificate.verdict > c.verdict {
				c.by, c.verdict = certificate, certificate.verdict
			}
		}
	}
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

// expose makes what is known of the request available to the handlers behind.
func (p *passage) expose() {
	if p.Expose == nil || p.session.IsZero() && len(p.refused) == 0 {
		return
	}
	facts := &Facts{guard: p.Guard, host: p.site.host, ref: registry.Ref{Session: p.session}}
	if !p.session.IsZero() {
		facts.Session = p.session.String()
	}
	var names []string
	for _, i := range p.refused {
		names = append(names, p.cookies[i].name)
	}
	facts.Refused = strings.Join(names, ",")
	p.Expose(p.request, facts)
}

// Subject returns the End-User (sub) that the session's ID tokens named for the app of this site,
// else for the first of its clients; empty: it is not known.
func (f *Facts) Subject(ctx context.Context) string {
	if f.Session == "" {
		return ""
	}
	_, session, err := f.guard.env.Registry.Resolve(ctx, f.ref)
	if err != nil || session == nil {
		return ""
	}
	for _, client := range session.Clients {
		for _, origin := range client.Origins {
			if n := len(client.Subjects); n > 0 && hostOf(authorityOf(origin)) == f.host {
				return client.Subjects[n-1].Sub
			}
		}
	}
	return handlers.UserOf(session)
}

const certificatePrefix = "oidc_guard_"

// cutPrefix cuts the prefix off a cookie's name that binds it to an origin (RFC 6265bis, section
// 4.1.3). Browsers compare it without regard to case.
func cutPrefix(name string) (prefix, rest string) {
	for _, prefix := range [...]string{"__Host-", "__Secure-"} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return prefix, name[len(prefix):]
		}
	}
	return "", name
}

// certificateHash is what the name of a cookie's certificate ends with.
func certificateHash(name string) (out [8]byte) {
	sum := sha256.Sum256([]byte(name))
	hex.Encode(out[:], sum[:4])
	return out
}

// certificateName returns the name of a cookie's certificate: not one that begins like the
// cookie's, since Auth.js takes all those for its own.
func certificateName(name string) string {
	prefix, _ := cutPrefix(name)
	hash := certificateHash(name)
	return prefix + certificatePrefix + string(hash[:])
}

// isCertificateName reports whether a cookie is a certificate, by its name.
func isCertificateName(name string) bool {
	_, rest := cutPrefix(name)
	return len(rest) == len(certificatePrefix)+8 && strings.HasPrefix(rest, certificatePrefix)
}

// isCertificateOf reports whether a certificate is that of a cookie, by their names. It allocates
// nothing.
func isCertificateOf(certificate, name string) bool {
	prefix, _ := cutPrefix(name)
	has, rest := cutPrefix(certificate)
	hash := certificateHash(name)
	return prefix == has && rest[len(certificatePrefix):] == string(hash[:])
}
