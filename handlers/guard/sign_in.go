package guard

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An attempt is a request that carries what an authorization response to this site has given to the
// browser, and that nobody had redeemed when the request came.
type attempt struct {
	issuer   string
	response sessionstate.ResponseID
	session  sessionstate.SessionID // of an ID token, which needs not be redeemed
	unknown  error                  // why it is not known whether there is such a response
	several  bool                   // another request carries the same at the same time
}

// attempts are those under way.
type attempts struct {
	mu  sync.Mutex
	all map[sessionstate.ResponseID][]*attempt
}

func (a *attempts) begin(begun *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = make(map[sessionstate.ResponseID][]*attempt)
	}
	others := a.all[begun.response]
	for _, other := range others {
		begun.several, other.several = true, true
	}
	a.all[begun.response] = append(others, begun)
}

// isOneOfSeveral reports whether another request carries, or carried meanwhile, the same.
func (a *attempts) isOneOfSeveral(one *attempt) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return one.several
}

func (a *attempts) end(ended *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	others := a.all[ended.response]
	for i, other := range others {
		if other == ended {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	if a.all[ended.response] = others; len(others) == 0 {
		delete(a.all, ended.response)
	}
}

// readSignIn finds out whether the request may sign a user in. No path and no client is configured:
// front ends send the code to wherever they want.
func (p *passage) readSignIn() {
	for _, proof := range p.readProofs() {
		for _, issuer := range p.Issuers() {
			if !p.attempt(issuer, proof) {
				return // the registry is unavailable: nothing waits for it once more
			}
		}
	}
}

// attempt looks a code or an ID token up.
func (p *passage) attempt(issuer string, of proof) (known bool) {
	response, found, err := p.env.Registry.Response(
		handlers.RecordingContext(p.request), issuer, of.id)
	a := &attempt{issuer: issuer, response: of.id, unknown: err}
	switch {
	case err != nil:
	case !found || !p.isSite(response.Origin) || !of.isIDToken && response.Redeemed != 0:
		return true
	case of.isIDToken:
		a.session = response.Session
	}
	p.Guard.attempts.begin(a)
	p.attempts = append(p.attempts, a)
	return err == nil
}

// outlastFor is how long the request of a sign-in goes on without its client.
const outlastFor = 30 * time.Second

// outlast has the request of a sign-in go on until the app responds, even if the client goes: an
// app that keeps its session has signed the user in by then.
func (p *passage) outlast() {
	if len(p.attempts) == 0 || p.attempts[0].unknown != nil {
		return
	}
	p.client = p.request.Context()
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.client))
	p.request, p.outlasts = p.request.WithContext(ctx), cancel
	context.AfterFunc(p.client, func() { time.AfterFunc(outlastFor, cancel) })
}

// endWithClient has the request end with its client again.
func (p *passage) endWithClient() {
	if p.outlasts != nil {
		context.AfterFunc(p.client, p.outlasts) // it is released with the client's own
	}
}

// isSite reports whether an origin is that of this site, or of another one that the guard was asked
// for, but for scheme and port: browsers keep cookies by neither, and whoever signs in may put any
// port into the request's Host.
func (p *passage) isSite(origin string) bool {
	authority := authorityOf(origin)
	return authority != "" && p.sites.has(hostOf(authority))
}

// authorityOf returns the host of an origin, with its port if that is not the scheme's own.
func authorityOf(origin string) string {
	_, authority, _ := strings.Cut(origin, "://")
	return authority
}

// bind returns the session that the user has signed in to by this request and its response; zero:
// none. A code counts that was redeemed in between, wherever it was: so one that the app refused,
// because another browser asked for it, binds nothing.
func (p *passage) bind(status int) (session sessionstate.SessionID) {
	for _, a := range p.attempts {
		candidate := p.redeemed(a, status)
		// A browser of somebody else may have been led here with the same code: it keeps its own.
		several := p.Guard.attempts.isOneOfSeveral(a)
		isOther := !p.session.IsZero() && (several || p.isForeign(a))
		if !candidate.IsZero() && !isOther {
			session = candidate
			// What the app refuses because another request has redeemed the code leaves its state
			// cookie behind.
			p.teaches = p.teaches || !several || status < http.StatusBadRequest
		}
	}
	if !session.IsZero() {
		p.bindSerials(session)
	}
	return session
}

// isForeign reports whether an attempt is by an ID token that was issued to another browser than
// the one that is signed in: it needs not be redeemed, so that any page could have it sent.
func (p *passage) isForeign(a *attempt) bool {
	return !a.session.IsZero() &&
		registry.PlaceOfSession(a.session) != registry.PlaceOfSession(p.session)
}

// redeemed returns the session of an attempt that has succeeded; zero: it has not.
func (p *passage) redeemed(a *attempt, status int) sessionstate.SessionID {
	setsCookie := status < http.StatusBadRequest && p.setsSession()
	var response *registry.Response
	found, err := false, a.unknown
	if err == nil && a.session.IsZero() {
		response, found, err = p.env.Registry.Response(
			handlers.RecordingContext(p.request), a.issuer, a.response)
	}
	switch {
	case err != nil && setsCookie:
		handlers.LogUnrecorded(p.env.Logger, "a sign-in at an app stays without guard", err)
	case found && response.Redeemed != 0:
		p.noteRedeemed(true)
		return response.Session
	case setsCookie && !a.session.IsZero():
		return a.session
	case setsCookie && err == nil:
		p.noteRedeemed(false)
	}
	return sessionstate.SessionID{}
}

// setsSession reports whether the response sets a cookie that may be a session.
func (p *passage) setsSession() bool {
	for i := range p.set {
		c := &p.set[i]
		_, known := p.site.find(c.name)
		if !c.deletes && (known || c.httpOnly && c.scope.domain == "") {
			return true
		}
	}
	return false
}

// maxUnredeemed is after how many codes that were not redeemed here the log says so: one
// may be refused by the app.
const maxUnredeemed = 3

// noteRedeemed notes whether the app has redeemed a code in its request, and warns of one that does
// so where the guard does not see it.
func (p *passage) noteRedeemed(was bool) {
	p.site.mu.Lock()
	defer p.site.mu.Unlock()
	if was {
		p.site.signedIn = true
		return
	}
	p.site.unredeemed++
	if p.site.unredeemed == maxUnredeemed && !p.site.signedIn {
		p.env.Logger.Warn("an app's sign-ins are not guarded", zap.String("host", p.site.host),
			zap.String("advice", "it sets cookies for codes that were not redeemed through Caddy: "+
				"have it use the token_endpoint of the discovery document"))
	}
}

// bindSerials records that what the browser had before belongs to the session from now on, so that
// copies which were made before are refused with it.
func (p *passage) bindSerials(session sessionstate.SessionID) {
	recorded := make([]sessionstate.Serial, 0, maxSerials)
	for i := range p.cookies {
		c := &p.cookies[i]
		if c.verdict != unbound || slices.Contains(recorded, c.by.Serial) {
			continue
		}
		if !p.record(c.by.Serial, string(session[:])) {
			return
		}
		recorded = append(recorded, c.by.Serial)
	}
}

// record records which sessions a serial leads to. ok is false if it is not recorded.
func (p *passage) record(serial sessionstate.Serial, sessions string) (ok bool) {
	_, _, err := p.env.Registry.Once(handlers.RecordingContext(p.request),
		serials, serial, sessions, p.now.Add(keptFor*time.Second))
	if err != nil {
		handlers.LogUnrecorded(p.env.Logger,
			"copies of an app's cookies from before a sign-in stay without guard", err)
	}
	return err == nil
}
