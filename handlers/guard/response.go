package guard

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// keptFor is how long a certificate is kept whose cookie was set before, in seconds: as long as
// browsers keep any (RFC 6265bis, section 5.5).
const keptFor = 400 * 24 * 60 * 60

// decide sets the certificates of a response, once its status and header are final.
func (p *passage) decide(status int, header http.Header) *exchange.Hold {
	p.decided = true
	p.readSetCookies(header)
	signedIn := p.bind(status)
	for i := range p.set {
		p.certify(&p.set[i], signedIn, header)
	}
	p.certifyPresented(signedIn, header)
	if p.expire(header) {
		p.clearSiteData(header)
	}
	p.forbidCaching(header)
	p.openStream(status, header)
	return nil
}

// certify sets the certificate of a session cookie beside it, or deletes it with it.
func (p *passage) certify(c *setCookie, signedIn sessionstate.SessionID, header http.Header) {
	if p.isLaterChunk(c.name) {
		return
	}
	known, found := p.site.find(c.name)
	if !found {
		known.certificate = certificateName(c.name)
		found = p.isCertified(c.name)
	}
	if c.deletes {
		if found {
			header.Add("Set-Cookie", c.line(known.certificate, ""))
		}
		return
	}
	session, serial := p.ownerOf(c, signedIn)
	if !found && !p.isSessionCookie(c, session, signedIn, header) {
		return
	}
	if !session.IsZero() {
		p.learn(p.site, p.request, c.name, signedIn.IsZero())
	}
	certificate := sessionstate.NewCertificate(
		c.name, c.value, p.site.host, c.scope.domain, c.scope.path)
	certificate.Session, certificate.Serial = session, serial
	if sealed, ok := p.seal(certificate); ok {
		header.Add("Set-Cookie", c.line(known.certificate, sealed))
	}
}

// ownerOf returns the session that a cookie belongs to which a response sets; else a serial. A
// browser that signs in now does so with all of the response's cookies. Else a cookie stays where
// it was, and a new one follows those that came with the request.
func (p *passage) ownerOf(
	c *setCookie, signedIn sessionstate.SessionID,
) (sessionstate.SessionID, sessionstate.Serial) {
	if !signedIn.IsZero() {
		return signedIn, sessionstate.Serial{}
	}
	for i := range p.cookies {
		own := &p.cookies[i]
		if own.name != c.name || own.by == nil {
			continue
		}
		switch own.verdict { //nolint:exhaustive // what was refused says nothing of what follows
		case live, unknown:
			return own.by.Session, own.by.Serial
		case unbound:
			return sessionstate.SessionID{}, own.by.Serial
		}
	}
	if !p.session.IsZero() {
		return p.session, sessionstate.Serial{}
	}
	if p.serial == (sessionstate.Serial{}) {
		p.serial = sessionstate.NewSerial()
	}
	return sessionstate.SessionID{}, p.serial
}

// isSessionCookie reports whether a cookie that was none until now is one: it is set when a user
// signs in, or while one is signed in, and only the server can have set it. On the way to a sign-in
// elsewhere, apps set cookies with random names that live until they come back.
func (p *passage) isSessionCookie(
	c *setCookie, session, signedIn sessionstate.SessionID, header http.Header,
) bool {
	if !c.httpOnly || c.scope.domain != "" {
		return false
	}
	p.Guard.set.Put(p.setKey(c.name), struct{}{})
	return !session.IsZero() && (!signedIn.IsZero() || !p.leadsElsewhere(header))
}

// setKey names a cookie that only the server of a site can set, which it was seen to do.
func (p *passage) setKey(cookie string) [16]byte {
	return handlers.Hash(p.site.host + "\x00" + cookie)
}

// leadsElsewhere reports whether a response redirects to another site.
func (p *passage) leadsElsewhere(header http.Header) bool {
	location := header.Get("Location")
	if location == "" {
		return false
	}
	target, err := url.Parse(location)
	return err != nil || target.Host != "" && hostOf(target.Host) != p.site.host
}

// certifyPresented certifies cookies that the request came with and the response leaves as they
// are: at a sign-in, those that were set before it; and those that are adopted.
func (p *passage) certifyPresented(signedIn sessionstate.SessionID, header http.Header) {
	for i := range p.cookies {
		c := &p.cookies[i]
		if !p.isKept(c, !signedIn.IsZero()) || p.setsAnywhere(c.name) {
			continue
		}
		at := scope{path: "/"}
		if c.by != nil && c.by.Path != "" {
			at = scope{c.by.Path, c.by.Domain}
		}
		certificate := sessionstate.NewCertificate(
			c.name, c.value, p.site.host, at.domain, at.path)
		if certificate.Session = signedIn; signedIn.IsZero() {
			_, certificate.Serial = p.ownerOf(&setCookie{}, signedIn)
		} else {
			p.learn(p.site, p.request, c.name, false)
		}
		if sealed, ok := p.seal(certificate); ok {
			line := p.cookieLine(certificateName(c.name), sealed, at, keptFor)
			header.Add("Set-Cookie", line)
			exchange.ForbidCaching(header)
		}
	}
}

// isKept reports whether a presented cookie gets a certificate although the response does not set
// it. At a sign-in it must be a session cookie, or one that only the server can have set.
func (p *passage) isKept(c *presented, signsIn bool) bool {
	if !signsIn || c.known {
		return c.known && (c.verdict == adopted || signsIn && c.verdict > unknown)
	}
	_, seen := p.Guard.set.Get(p.setKey(c.name))
	return seen && !p.ignores(c.name) && !p.isLaterChunk(c.name)
}

// seal seals a certificate. ok is false while the keys are unavailable, which the log says already.
func (p *passage) seal(c sessionstate.Certificate) (sealed string, ok bool) {
	keys, err := p.env.Keys(handlers.RecordingContext(p.request))
	if err != nil {
		return "", false
	}
	return keys.SealCertificate(c), true
}

// forbidCaching has browsers ask again for a page of a signed-in user: without a word on it they
// may show it from their cache after the sign-out (RFC 9111, section 4.2.2).
func (p *passage) forbidCaching(header http.Header) {
	if p.session.IsZero() || header.Get("Cache-Control") != "" || header.Get("Expires") != "" {
		return
	}
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if mediaType == "text/html" {
		header.Set("Cache-Control", "private, no-cache")
	}
}

// isEventStream reports whether a response is one (HTML Standard, section 9.2).
func isEventStream(header http.Header) bool {
	return strings.HasPrefix(header.Get("Content-Type"), "text/event-stream")
}
