package handlers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A pending request is an authorization request that may yet be answered, in a sealed cookie of its own. It is kept after an
// answer, so that going back and answering again works.
type pendingRequest struct {
	state    [16]byte // hash of the OAuth state; that of the empty string where the request had none
	target   [16]byte // hash of where the redirect URI points
	clientID string
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
)

func (p pendingRequest) is(t traits) bool { return p.traits&t != 0 }

const (
	pendingPurpose  = "pending request"
	pendingLifetime = time.Hour
	maxPending      = 8  // per browser and issuer
	maxOpened       = 64 // of those that a browser presents: a page may have had it ask many times at once
	pendingHead     = 16 + 16 + 16 + 1 + 2 + 4
	pendingID       = 12 // characters
)

// newPendingRequest notes a request. ok is false for one that is over a bound or has no usable redirect URI.
func newPendingRequest(clientID, redirectURI, state string, now time.Time) (p pendingRequest, ok bool) {
	target, err := url.Parse(redirectURI)
	if err != nil || !target.IsAbs() || clientID == "" {
		return pendingRequest{}, false
	}
	if len(clientID) > maxClientID || len(redirectURI) > maxLocation || len(state) > maxState {
		return pendingRequest{}, false
	}
	return pendingRequest{state: hash16(state), target: hashTarget(target), clientID: clientID, issued: now.Truncate(time.Second), own: ownNames(target.Query())}, true
}

// newBlindRequest notes a request by a request object that cannot be read.
func newBlindRequest(clientID string, now time.Time) (p pendingRequest, ok bool) {
	return pendingRequest{clientID: clientID, issued: now.Truncate(time.Second), traits: blind | posting}, clientID != "" && len(clientID) <= maxClientID
}

// answeredBy tells whether a response to target with state answers the request.
func (p pendingRequest) answeredBy(target *url.URL, state string) bool {
	return !p.is(blind|leaving) && p.state == hash16(state) && p.target == hashTarget(target)
}

// id names the request: the same request sent again gets the same cookie.
func (p pendingRequest) id() string {
	sum := sha256.Sum256(append(append(p.state[:], p.target[:]...), p.clientID...))
	return hex.EncodeToString(sum[:pendingID/2])
}

func (p pendingRequest) seal(keys *sessionstate.Keyring, issuer string) string {
	value := append(make([]byte, 0, pendingHead+len(p.clientID)), p.state[:]...)
	value = append(value, p.target[:]...)
	value = append(value, p.browser[:]...)
	value = append(value, byte(p.traits))
	value = binary.BigEndian.AppendUint16(value, p.own)
	value = binary.BigEndian.AppendUint32(value, uint32(p.issued.Unix()))
	value = append(value, p.clientID...)
	return keys.Seal(pendingPurpose, issuer, value)
}

// openPendingRequest opens a cookie's value. ok is false when it is not ours or too old.
func openPendingRequest(keys *sessionstate.Keyring, issuer, sealed string, now time.Time) (p pendingRequest, ok bool) {
	value, _, err := keys.Open(pendingPurpose, issuer, sealed)
	if err != nil || len(value) <= pendingHead {
		return pendingRequest{}, false
	}
	value = value[copy(p.state[:], value):]
	value = value[copy(p.target[:], value):]
	value = value[copy(p.browser[:], value):]
	p.traits, p.own, value = traits(value[0]), binary.BigEndian.Uint16(value[1:]), value[3:]
	p.issued = time.Unix(int64(binary.BigEndian.Uint32(value)), 0)
	p.clientID = string(value[4:])
	return p, now.Sub(p.issued) < pendingLifetime
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
