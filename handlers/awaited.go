package handlers

import "github.com/oidc-session/caddy-oidc-session/sessionstate"

// awaited is what is remembered in memory of pending requests, beside their cookies.
type awaited struct {
	requests  recent[pendingRequest] // by browser and answer
	clientIDs recent[string]         // that are too long for a cookie, by their hash
}

func (a *awaited) put(p pendingRequest) {
	if len(p.clientID) > maxSealedID {
		a.clientIDs.put(p.client, p.clientID)
	}
	if !p.browser.IsZero() && !p.is(blind|leaving) {
		a.requests.put(awaitedKey(p.browser, p.answer), p)
	}
}

// find returns the request of a browser that such an answer fits. Without a browser there is none: the request might be another's.
func (a *awaited) find(id sessionstate.BrowserID, answer [16]byte) (p pendingRequest, known bool) {
	if id.IsZero() {
		return pendingRequest{}, false
	}
	return a.requests.get(awaitedKey(id, answer))
}

func awaitedKey(browser sessionstate.BrowserID, answer [16]byte) [16]byte {
	return hash16(string(browser[:]) + string(answer[:]))
}

// clientID returns the client ID of a request. A long one is known to the server that saw the request, and to all whose
// configuration has the client; to others the request is as if it had not been seen.
func (b *Browser) clientID(p pendingRequest) (id string, known bool) {
	if p.clientID != "" {
		return p.clientID, true
	}
	if id, known = b.awaited.clientIDs.get(p.client); known || b.Clients == nil {
		return id, known
	}
	return b.Clients.idOf(p.client)
}
