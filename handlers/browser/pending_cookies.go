package browser

import (
	"cmp"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Slot returns the name of the cookie for a request: that of the same request, one that is free,
// or that of the oldest request. The search for a free one begins elsewhere for each request, for
// those that are sent at once do not know of each other.
func (v *Cookies) Slot(asked PendingRequest) string {
	slots := handlers.OtherSlots
	if exchange.IsNavigation(v.Request) {
		slots = handlers.NavigationSlots
	}
	var free, oldest string
	first := int(asked.Answer[0] ^ asked.Client[0])
	for i := range slots {
		at := (first + i) % len(slots)
		name := v.OP.Cookies.Pending + slots[at:at+1]
		p, taken := v.Pending[name]
		switch {
		case taken && p.IsSame(asked):
			return name
		case !taken:
			free = cmp.Or(free, name)
		case oldest == "" || p.Issued.Before(v.Pending[oldest].Issued):
			oldest = name
		}
	}
	return cmp.Or(free, oldest)
}

func (v *Cookies) KeepPending(name string, p PendingRequest) {
	v.Pending[name] = p
	left := p.Issued.Add(PendingLifetime).Sub(v.Now.Truncate(time.Second))
	v.Set(v.OP.Cookies.Cookie(name, p.Seal(v.Keys, v.OP.Issuer), left, false))
}

// newestBrowser is the browser that sent the newest pending request; zero if none had an ID.
func (v *Cookies) newestBrowser() sessionstate.BrowserID {
	var newest PendingRequest
	for _, p := range v.Pending {
		if !p.Browser.IsZero() && p.Issued.After(newest.Issued) {
			newest = p
		}
	}
	return newest.Browser
}

// BlindRequest returns the newest blind request. ok is false when there is none, or when several
// clients have one: a wrong guess would give one client the state of another.
func (v *Cookies) BlindRequest(asked *PendingRequest) (request PendingRequest, ok bool) {
	if asked != nil && asked.Is(BlindRequest) {
		return *asked, true
	}
	for _, p := range v.Pending {
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
