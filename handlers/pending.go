package handlers

import (
	"crypto/sha256"
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A pending request is an authorization request that may yet be answered, in a sealed cookie. It is kept for some minutes after
// an answer, so that going back and answering again works.
type pendingRequest struct {
	answer   [16]byte               // hash of where the redirect URI points, and of the state; zero: neither is known
	client   [16]byte               // hash of the client ID
	clientID string                 // empty: it was too long for the cookie
	issued   time.Time              // in whole seconds
	browser  sessionstate.BrowserID // that asked; zero: it could not be given an ID
	traits   traits
	own      uint16 // which of the responseNames stand in the redirect URI's own query
}

// traits are what else is known of a request.
type traits byte

const (
	// silent requests have prompt=none: an answer to one signs nobody in (OpenID Connect Core 1.0, section 3.1.2.1).
	silent traits = 1 << iota
	// posting requests may be answered by a page that posts itself (OAuth 2.0 Form Post Response Mode 1.0).
	posting
	// blind requests are by a request object that cannot be read, so that neither their state nor their redirect URI is known.
	blind
	// leaving requests are no authorization requests: the OP's own end_session endpoint was asked to redirect there after a sign-out.
	leaving
	// bare requests ask whether the user is signed in, and for nothing else.
	bare
	// none requests have response_type=none: a success has neither code nor token (OAuth 2.0 Multiple Response Type Encoding
	// Practices, section 4).
	none
	// hashed requests have the hash of the client ID in their cookie, in place of a long client ID.
	hashed
)

func (p pendingRequest) is(t traits) bool { return p.traits&t != 0 }

const (
	pendingPurpose  = "pending request"
	pendingLifetime = time.Hour
	// answeredLifetime is how long a request can be answered again.
	answeredLifetime = 5 * time.Minute
	// maxOpened is how many cookies of a request are opened: one of each name, unless somebody sends many of one name.
	maxOpened   = 2 * len(navigationSlots+otherSlots)
	pendingHead = 16 + 16 + 1 + 2 + 4
	// maxSealedID is the length in bytes up to which a client ID is in the cookie itself, so that any server with the key knows it:
	// the longest with which the value stays within 160 characters. UUIDs and most others are shorter.
	maxSealedID = 40
)

// Each pending request has one of a few cookies, since all of a site's cookies must fit into a request: servers refuse those with
// more than some kilobytes. Frames, and whatever else is no navigation that somebody sees, have some of their own. So a page
// that asks in hidden frames, as often as it likes, takes no cookie from a sign-in that is under way.
const (
	navigationSlots = "01234567"
	otherSlots      = "abcd"
)

// isNavigationSlot reports whether a cookie's name is that of a navigation.
func isNavigationSlot(name string) bool {
	return name != "" && strings.Contains(navigationSlots, name[len(name)-1:])
}

// newPendingRequest notes a request. ok is false for one that is over a bound or has no usable redirect URI.
func newPendingRequest(clientID, redirectURI, state string, now time.Time) (p pendingRequest, ok bool) {
	target, err := url.Parse(redirectURI)
	if err != nil || !target.IsAbs() || clientID == "" {
		return pendingRequest{}, false
	}
	if len(clientID) > maxClientID || len(redirectURI) > maxLocation || len(state) > maxState {
		return pendingRequest{}, false
	}
	return pendingRequest{
		answer: hashAnswer(target, state), client: hash16(clientID), clientID: clientID,
		issued: now.Truncate(time.Second), own: ownNames(target.Query()),
	}, true
}

// newBlindRequest notes a request by a request object that cannot be read.
func newBlindRequest(clientID string, now time.Time) (p pendingRequest, ok bool) {
	p = pendingRequest{client: hash16(clientID), clientID: clientID, issued: now.Truncate(time.Second), traits: blind | posting}
	return p, clientID != "" && len(clientID) <= maxClientID
}

// answeredBy reports whether a response to target with state answers the request.
func (p pendingRequest) answeredBy(target *url.URL, state string) bool {
	return !p.is(blind|leaving) && p.answer == hashAnswer(target, state)
}

// isSame reports whether it is another one's request, sent again.
func (p pendingRequest) isSame(other pendingRequest) bool {
	return p.answer == other.answer && p.client == other.client && p.is(leaving) == other.is(leaving)
}

// answered is the request once it was answered. It counts as an old one then, which gives way to others.
func (p pendingRequest) answered(now time.Time) pendingRequest {
	if issued := now.Truncate(time.Second).Add(answeredLifetime - pendingLifetime); p.issued.After(issued) {
		p.issued = issued
	}
	return p
}

func (p pendingRequest) isOver(now time.Time) bool { return now.Sub(p.issued) >= pendingLifetime }

func (p pendingRequest) seal(keys *sessionstate.Keyring, issuer string) string {
	client := []byte(p.clientID)
	p.traits &^= hashed
	if p.clientID == "" || len(p.clientID) > maxSealedID {
		client, p.traits = p.client[:], p.traits|hashed
	}
	value := append(make([]byte, 0, pendingHead+len(client)), p.answer[:]...)
	value = append(value, p.browser[:]...)
	value = append(value, byte(p.traits))
	value = binary.BigEndian.AppendUint16(value, p.own)
	value = binary.BigEndian.AppendUint32(value, uint32(p.issued.Unix()))
	value = append(value, client...)
	return keys.Seal(pendingPurpose, issuer, value)
}

// openPendingRequest opens a cookie's value. ok is false when it is not ours or too old.
func openPendingRequest(keys *sessionstate.Keyring, issuer, sealed string, now time.Time) (p pendingRequest, ok bool) {
	value, _, err := keys.Open(pendingPurpose, issuer, sealed)
	if err != nil || len(value) <= pendingHead {
		return pendingRequest{}, false
	}
	value = value[copy(p.answer[:], value):]
	value = value[copy(p.browser[:], value):]
	p.traits, p.own, value = traits(value[0]), binary.BigEndian.Uint16(value[1:]), value[3:]
	p.issued = time.Unix(int64(binary.BigEndian.Uint32(value)), 0)
	value = value[4:]
	if !p.is(hashed) {
		p.clientID, p.client = string(value), hash16(string(value))
		return p, !p.isOver(now)
	}
	if len(value) != len(p.client) {
		return pendingRequest{}, false
	}
	copy(p.client[:], value)
	return p, !p.isOver(now)
}

// hashAnswer is one hash of what must be right of an answer: where it goes, and its state.
func hashAnswer(target *url.URL, state string) [16]byte {
	to := hashTarget(target)
	return hash16(string(to[:]) + state)
}

// hashTarget is the hash of where a redirect URI points: its scheme, authority and path. Its query is left out, since OPs write
// the parameters behind it in ways of their own; the state tells two requests to one path apart.
func hashTarget(u *url.URL) [16]byte {
	if origin, err := sessionstate.Origin(u.String()); err == nil {
		path := u.Path
		if path == "" {
			path = "/"
		}
		return hash16(origin + path)
	}
	return hash16(u.Scheme + "|" + u.Opaque + "|" + u.Host + "|" + u.Path)
}

func hash16(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}

// responseNames are the parameters of an authorization response that are read here.
var responseNames = []string{"code", "id_token", "access_token", "error", "state", "iss", "session_state"}

// ownNames are those of the responseNames, as bits, that a redirect URI's own query has: the client has chosen them, and not the OP.
func ownNames(query url.Values) (own uint16) {
	for i, name := range responseNames {
		if query.Has(name) {
			own |= 1 << i
		}
	}
	return own
}
