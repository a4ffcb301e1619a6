package guard

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// keptFor is how long a certificate is kept whose cookie was set before, in seconds: as long as
// browsers keep any (RFC 6265bis, section 5.5).
const keptFor = 400 * 24 * 60 * 60

// decide sets the certificates of a response, once its status and header are final.
func (p *passage) decide(status int, header http.Header) *exchange.Hold {
	p.decided = true
	p.endWithClient()
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
	known, found := p.site.find(c.name)
	if !found && p.isLaterChunk(c.name) {
		return
	}
	if !found {
		known = newName(c.name)
		found = p.isCertified(known.id)
	}
	if c.deletes {
		if found {
			header.Add("Set-Cookie", c.line(known.certificate, ""))
		}
		return
	}
	of, ok := p.ownerOf(c, signedIn)
	if !ok || !found && !p.isSessionCookie(c, of, signedIn, header) {
		return
	}
	if of.signedIn {
		p.learn(p.site, p.request, c.name, signedIn.IsZero())
	}
	if sealed, ok := p.seal(c.name, c.value, c.scope, of); ok {
		header.Add("Set-Cookie", c.line(known.certificate, sealed))
	}
}

// ownerOf returns whom a cookie belongs to which a response sets. A browser that signs in now does
// so with all of the response's cookies; one that is set again as it was is kept. Without a sign-in
// a cookie stays where it was, and a new one follows those that came with the request.
func (p *passage) ownerOf(c *setCookie, signedIn sessionstate.SessionID) (of owner, ok bool) {
	own := p.predecessor(c)
	switch {
	case !signedIn.IsZero() && own != nil && own.value == c.value:
		return p.ownerOfKept(own, signedIn)
	case !signedIn.IsZero():
		return owner{session: signedIn, signedIn: true}, true
	case own != nil:
		return own.by.owner(), true
	}
	return p.ownerOfNew(), true
}

// ownerOfNew returns whom a cookie belongs to that had no certificate before.
func (p *passage) ownerOfNew() owner {
	if p.newcomers == (owner{}) {
		p.newcomers.serial = sessionstate.NewSerial()
	}
	return p.newcomers
}

// ownerOfAdopted returns whom a cookie belongs to that is adopted: no session, whatever else the
// browser has.
func (p *passage) ownerOfAdopted() owner {
	if of := p.ownerOfNew(); !of.signedIn {
		return of
	}
	if p.adopting == (sessionstate.Serial{}) {
		p.adopting = sessionstate.NewSerial()
	}
	return owner{serial: p.adopting}
}

// predecessor returns the cookie of the request that a response sets anew: of several of the name,
// the one with the value, else the one at the place. nil: there is none that was certified. What
// was refused says nothing of what follows.
func (p *passage) predecessor(c *setCookie) (found *presented) {
	best := -1
	for i := range p.cookies {
		own := &p.cookies[i]
		if own.name != c.name || own.by == nil || own.verdict == refused {
			continue
		}
		rank := 0
		switch {
		case own.value == c.value:
			rank = 2
		case c.scope == scopeOf(own.by):
			rank = 1
		}
		if rank > best {
			found, best = own, rank
		}
	}
	return found
}

// maxOwners is how many sessions own one cookie.
const maxOwners = 8

// ownerOfKept returns whom a cookie belongs to that was there before a sign-in and stays. One of
// another session that lives belongs to both from now on, and passes while both live: whoever has
// copied it could else have it outlive its session by a sign-in of his own. The user's own session
// that the sign-in has ended counts no more. ok is false where the cookie stays what it is.
func (p *passage) ownerOfKept(c *presented, signedIn sessionstate.SessionID) (of owner, ok bool) {
	of = owner{session: signedIn, signedIn: true}
	if c.by == nil {
		return of, true
	}
	var all []byte
	for _, session := range c.by.sessions {
		if session == signedIn {
			continue
		}
		alive, err := p.sessions.alive(handlers.RecordingContext(p.request), session, p.now)
		isOwn := registry.PlaceOfSession(session) == registry.PlaceOfSession(signedIn)
		switch {
		case err != nil || !alive && !isOwn:
			return owner{}, false
		case alive:
			all = append(all, session[:]...)
		}
	}
	if len(all) == 0 {
		return of, true
	}
	if all = append(all, signedIn[:]...); len(all) > maxOwners*len(signedIn) {
		return owner{}, false
	}
	of = owner{serial: sessionstate.NewSerial(), signedIn: true}
	return of, p.record(of.serial, string(all))
}

// isSessionCookie reports whether a cookie that was none until now is one: it is set when a user
// signs in, or while one is signed in, and only the server can have set it. On the way to a sign-in
// elsewhere, apps set cookies with random names that live until they come back.
func (p *passage) isSessionCookie(
	c *setCookie, of owner, signedIn sessionstate.SessionID, header http.Header,
) bool {
	if !c.httpOnly || c.scope.domain != "" {
		return false
	}
	p.Guard.set.Put(p.setKey(c.name), struct{}{})
	return of.signedIn && (!signedIn.IsZero() || !p.leadsElsewhere(header))
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
		if !p.isKept(c, !signedIn.IsZero()) || p.setsAnywhere(c.name) || p.isSecond(i) {
			continue
		}
		at := scope{path: "/"}
		if c.by != nil && c.by.Path != "" {
			at = scopeOf(c.by)
		}
		of, ok := p.ownerOfAdopted(), true
		if !signedIn.IsZero() {
			// One that is there for the first time may be a state cookie of another tab's sign-in.
			p.learn(p.site, p.request, c.name, !c.known)
			of, ok = p.ownerOfKept(c, signedIn)
		}
		if !ok {
			continue
		}
		if sealed, ok := p.seal(c.name, c.value, at, of); ok {
			line := p.cookieLine(certificateName(c.name), sealed, at, keptFor)
			header.Add("Set-Cookie", line)
			exchange.ForbidCaching(header)
		}
	}
}

// isSecond reports whether another cookie of the name has the certificate that this one would get.
// Where that other one is set is known, or it came first.
func (p *passage) isSecond(i int) bool {
	c := &p.cookies[i]
	for j := range p.cookies {
		other := &p.cookies[j]
		if j != i && c.by == nil && other.name == c.name && (other.by != nil || j < i) {
			return true
		}
	}
	return false
}

// isKept reports whether a presented cookie gets a certificate although the response does not set
// it. At a sign-in it must be a session cookie, or one that only the server can have set.
func (p *passage) isKept(c *presented, signsIn bool) bool {
	if !signsIn || c.known {
		return c.known && (c.verdict == adopted || signsIn && c.verdict > unknown)
	}
	_, seen := p.Guard.set.Get(p.setKey(c.name))
	return seen && p.teaches && !p.ignores(c.name) && !p.isLaterChunk(c.name)
}

// seal seals the certificate of a cookie at a place, which says whom it belongs to. ok is false
// while the keys are unavailable, which the log says already.
func (p *passage) seal(name, value string, at scope, of owner) (sealed string, ok bool) {
	keys, err := p.env.Keys(handlers.RecordingContext(p.request))
	if err != nil {
		return "", false
	}
	c := sessionstate.NewCertificate(name, value, p.site.host, at.domain, at.path)
	c.Session, c.Serial, c.Partitioned = of.session, of.serial, at.partitioned
	return keys.SealCertificate(c), true
}

// forbidCaching has browsers ask again for a page of a signed-in user: without a word on it they
// may show it from their cache after the sign-out (RFC 9111, section 4.2.2).
func (p *passage) forbidCaching(header http.Header) {
	if p.session.IsZero() || header.Get("Cache-Control") != "" || header.Get("Expires") != "" {
		return
	}
	if hasType(header, "text/html") {
		header.Set("Cache-Control", "private, no-cache")
	}
}

// isEventStream reports whether a response is one (HTML Standard, section 9.2).
func isEventStream(header http.Header) bool { return hasType(header, eventStream) }

// hasType reports whether a response is of a media type, whatever its parameters (RFC 9110, section
// 8.3.1). It allocates nothing.
func hasType(header http.Header, mediaType string) bool {
	given, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.Trim(given, " \t"), mediaType)
}
