package browser

import (
	"cmp"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// AddPending keeps a request in a pending cookie until it is answered.
func (c *Cookies) AddPending(request PendingRequest) { c.setPending(c.slot(request), request) }

// slot returns the name of the cookie for a request: that of the same request, one that is free,
// or that of the oldest request. Each request begins the search for a free one elsewhere, because
// those that are sent at once do not have each other's cookies.
func (c *Cookies) slot(request PendingRequest) string {
	slots := handlers.OtherSlots
	if exchange.IsNavigation(c.Request) {
		slots = handlers.NavigationSlots
	}
	var free, oldest string
	first := int(request.Response[0] ^ request.Client[0])
	for i := range slots {
		at := (first + i) % len(slots)
		name := c.OP.Cookies.Pending + slots[at:at+1]
		p, taken := c.Pending[name]
		switch {
		case taken && p.IsSame(request):
			return name
		case !taken:
			free = cmp.Or(free, name)
		case oldest == "" || p.Issued.Before(c.Pending[oldest].Issued):
			oldest = name
		}
	}
	return cmp.Or(free, oldest)
}

func (c *Cookies) setPending(name string, p PendingRequest) {
	c.Pending[name] = p
	rest := p.Issued.Add(PendingLifetime).Sub(c.Now.Truncate(time.Second))
	c.set(c.OP.Cookies.Cookie(name, p.Seal(c.Keys, c.OP.Issuer), rest, false))
}

// FindPending returns the newest pending request that matches. ok is false when there is none.
//
// A navigation gets what a navigation has requested, and a frame what a frame has, if both match:
// a frame of another site may have sent the same request as another client, where an app sends no
// state.
func (c *Cookies) FindPending(
	matches func(PendingRequest) bool,
) (request PendingRequest, ok bool) {
	sameKind := false // whether the request found so far is of that kind
	for name, p := range c.Pending {
		if !matches(p) {
			continue
		}
		is := isNavigationSlot(name) == exchange.IsNavigation(c.Request)
		if !ok || is && !sameKind || is == sameKind && p.Issued.After(request.Issued) {
			request, sameKind, ok = p, is, true
		}
	}
	return request, ok
}

// isNavigationSlot reports whether a cookie's name is that of a navigation.
func isNavigationSlot(name string) bool {
	return name != "" && strings.Contains(handlers.NavigationSlots, name[len(name)-1:])
}

// TakePending deletes a pending request that matches. It reports whether there was one.
func (c *Cookies) TakePending(matches func(PendingRequest) bool) bool {
	for name, p := range c.Pending {
		if matches(p) {
			delete(c.Pending, name)
			c.set(c.OP.Cookies.Deletion(name))
			return true
		}
	}
	return false
}

// MarkAnswered leaves a request a short time to be answered again: see [AnsweredLifetime].
func (c *Cookies) MarkAnswered(request PendingRequest) {
	for name, p := range c.Pending {
		if answered := p.Answered(c.Now); p.IsSame(request) && answered != p {
			c.setPending(name, answered)
		}
	}
}

// BlindRequest returns the request at hand if it is blind, else the newest blind one that is
// pending. ok is false when there is none, or when several clients have one: a wrong guess would
// give one client the state of another.
func (c *Cookies) BlindRequest(current *PendingRequest) (request PendingRequest, ok bool) {
	if current != nil && current.Is(BlindRequest) {
		return *current, true
	}
	for _, p := range c.Pending {
		if !p.Is(BlindRequest) {
			continue
		}
		if ok && p.Client != request.Client {
			return PendingRequest{}, false
		}
		if !ok || p.Issued.After(request.Issued) {
			request, ok = p, true
		}
	}
	return request, ok
}

// newestBrowser is the browser that sent the newest pending request; zero if none had an ID.
func (c *Cookies) newestBrowser() sessionstate.BrowserID {
	var newest PendingRequest
	for _, p := range c.Pending {
		if !p.Browser.IsZero() && p.Issued.After(newest.Issued) {
			newest = p
		}
	}
	return newest.Browser
}
