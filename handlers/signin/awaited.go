package signin

import (
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// awaited is what is remembered in memory of pending requests, beside their cookies.
type awaited struct {
	requests handlers.Recent[browser.PendingRequest] // by browser and answer
	// that are too long for a cookie, by their hash
	clientIDs handlers.Recent[string]
}

func (a *awaited) put(p browser.PendingRequest) {
	if len(p.ClientID) > browser.MaxSealedID {
		a.clientIDs.Put(p.Client, p.ClientID)
	}
	if !p.Browser.IsZero() && !p.Is(browser.BlindRequest|browser.LogoutRequest) {
		a.requests.Put(awaitedKey(p.Browser, p.Answer), p)
	}
}

// find returns the request of a browser that such an answer fits. Without a browser there is none:
// the request might be another's.
func (a *awaited) find(id sessionstate.BrowserID, answer [16]byte) (p browser.PendingRequest, known bool) {
	if id.IsZero() {
		return browser.PendingRequest{}, false
	}
	return a.requests.Get(awaitedKey(id, answer))
}

func awaitedKey(browser sessionstate.BrowserID, answer [16]byte) [16]byte {
	return handlers.Hash(string(browser[:]) + string(answer[:]))
}

// clientID returns the client ID of a request. A long one is known to the server that saw the
// request, and to all whose configuration has the client; to others the request is as if it had
// not been seen.
func (o *Observer) clientID(p browser.PendingRequest) (id string, known bool) {
	if p.ClientID != "" {
		return p.ClientID, true
	}
	if id, known = o.awaited.clientIDs.Get(p.Client); known || o.Clients == nil {
		return id, known
	}
	return o.Clients.IDOf(p.Client)
}
