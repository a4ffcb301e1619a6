package browser

import (
	"cmp"
	"encoding/binary"
	"net/url"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A PendingRequest is an authorization request that may yet be answered, in a sealed cookie. It is
// kept for some minutes after a response, so that going back and answering again works.
type PendingRequest struct {
	Response [16]byte               // what answers it: see HashResponse; zero: unknown
	Client   [16]byte               // hash of the client ID
	ClientID string                 // empty: it was too long for the cookie
	Issued   time.Time              // in whole seconds
	Browser  sessionstate.BrowserID // that sent it; zero: it could get no ID
	Traits   traits
	Own      uint16 // which of the ResponseNames stand in the redirect URI's own query
}

// traits are what else is known of a request.
type traits byte

// Traits of a request.
const (
	// SilentRequest: it has prompt=none, so a response signs nobody in (OpenID Connect Core 1.0,
	// section 3.1.2.1).
	SilentRequest traits = 1 << iota
	// PostingRequest: the response may be a page that posts itself (OAuth 2.0 Form Post Response
	// Mode 1.0).
	PostingRequest
	// BlindRequest: it is a request object that cannot be read, so neither its state nor its
	// redirect URI is known.
	BlindRequest
	// LogoutRequest: it is no authorization request. The OP's own end_session endpoint will
	// redirect there after a sign-out.
	LogoutRequest
	// BareRequest: it asks whether the user is signed in, and for nothing else.
	BareRequest
	// CodelessRequest: it has response_type=none, so a success has neither code nor token (OAuth
	// 2.0 Multiple Response Type Encoding Practices, section 4).
	CodelessRequest
	// hashedClient: its cookie has the hash of a long client ID in place of that.
	hashedClient
)

// Is reports whether the request has one of some traits.
func (p PendingRequest) Is(t traits) bool { return p.Traits&t != 0 }

// Bounds of pending requests.

const (
	// PendingLifetime is how long a request can be answered.
	PendingLifetime = time.Hour
	// AnsweredLifetime is how long a request can be answered again.
	AnsweredLifetime = 5 * time.Minute
	// maxOpened is how many cookies of a request are opened: one of each name, unless somebody
	// sends many of one name.
	maxOpened = 2 * len(handlers.NavigationSlots+handlers.OtherSlots)
	// MaxSealedID is the length in bytes up to which a client ID is in the cookie itself, so that
	// any server with the key knows it: the longest with which the value stays within 160
	// characters. UUIDs and most others are shorter.
	MaxSealedID = 40

	pendingPurpose = "pending request"
	pendingHead    = 16 + 16 + 1 + 2 + 4
)

// NewPendingRequest returns a request with these parameters. ok is false for one that is over a
// limit or has no usable redirect URI.
func NewPendingRequest(
	clientID, redirectURI, state string, now time.Time,
) (p PendingRequest, ok bool) {
	target, err := url.Parse(redirectURI)
	p, ok = NewBlindRequest(clientID, now)
	if !ok || err != nil || !target.IsAbs() ||
		len(redirectURI) > handlers.MaxLocation || len(state) > handlers.MaxState {
		return PendingRequest{}, false
	}
	p.Response, p.Own, p.Traits = HashResponse(target, state), ownNames(target.Query()), 0
	return p, true
}

// NewBlindRequest returns a request by a request object that cannot be read. ok is false for one
// that names no client, or has too long a client ID.
func NewBlindRequest(clientID string, now time.Time) (p PendingRequest, ok bool) {
	return PendingRequest{
		Client: handlers.Hash(clientID), ClientID: clientID, Issued: now.Truncate(time.Second),
		Traits: BlindRequest | PostingRequest,
	}, clientID != "" && len(clientID) <= handlers.MaxClientID
}

// AnsweredBy reports whether a response to target with state answers the request.
func (p PendingRequest) AnsweredBy(target *url.URL, state string) bool {
	return !p.Is(BlindRequest|LogoutRequest) && p.Response == HashResponse(target, state)
}

// IsSame reports whether two requests are one that was sent again.
func (p PendingRequest) IsSame(other PendingRequest) bool {
	return p.Response == other.Response && p.Client == other.Client &&
		p.Is(LogoutRequest) == other.Is(LogoutRequest)
}

// Answered returns the request once it was answered. It counts as an old one then, which gives way
// to others.
func (p PendingRequest) Answered(now time.Time) PendingRequest {
	issued := now.Truncate(time.Second).Add(AnsweredLifetime - PendingLifetime)
	if p.Issued.After(issued) {
		p.Issued = issued
	}
	return p
}

// Expired reports whether the request can no longer be answered.
func (p PendingRequest) Expired(now time.Time) bool { return now.Sub(p.Issued) >= PendingLifetime }

// Seal returns the value of the cookie for the request.
func (p PendingRequest) Seal(keys *sessionstate.Keyring, issuer string) string {
	client := []byte(p.ClientID)
	p.Traits &^= hashedClient
	if p.ClientID == "" || len(p.ClientID) > MaxSealedID {
		client, p.Traits = p.Client[:], p.Traits|hashedClient
	}
	value := append(make([]byte, 0, pendingHead+len(client)), p.Response[:]...)
	value = append(value, p.Browser[:]...)
	value = append(value, byte(p.Traits))
	value = binary.BigEndian.AppendUint16(value, p.Own)
	value = binary.BigEndian.AppendUint32(value, uint32(p.Issued.Unix()))
	value = append(value, client...)
	return keys.Seal(pendingPurpose, issuer, value)
}

// OpenPendingRequest opens a cookie's value. ok is false when it is not ours or has expired.
func OpenPendingRequest(
	keys *sessionstate.Keyring, issuer, sealed string, now time.Time,
) (p PendingRequest, ok bool) {
	value, _, err := keys.Open(pendingPurpose, issuer, sealed)
	if err != nil || len(value) <= pendingHead {
		return PendingRequest{}, false
	}
	value = value[copy(p.Response[:], value):]
	value = value[copy(p.Browser[:], value):]
	p.Traits, p.Own, value = traits(value[0]), binary.BigEndian.Uint16(value[1:]), value[3:]
	p.Issued = time.Unix(int64(binary.BigEndian.Uint32(value)), 0)
	value = value[4:]
	if !p.Is(hashedClient) {
		p.ClientID, p.Client = string(value), handlers.Hash(string(value))
		return p, !p.Expired(now)
	}
	if len(value) != len(p.Client) {
		return PendingRequest{}, false
	}
	copy(p.Client[:], value)
	return p, !p.Expired(now)
}

// HashResponse is one hash of what must be right in a response: where it goes, and its state.
func HashResponse(target *url.URL, state string) [16]byte {
	to := hashTarget(target)
	return handlers.Hash(string(to[:]) + state)
}

// hashTarget is the hash of where a redirect URI points: its scheme, authority and path. Its query
// does not count, since OPs write the parameters behind it in ways of their own. The state
// distinguishes two requests to one path.
func hashTarget(u *url.URL) [16]byte {
	if origin, err := sessionstate.Origin(u.String()); err == nil {
		return handlers.Hash(origin + cmp.Or(u.Path, "/"))
	}
	return handlers.Hash(u.Scheme + "|" + u.Opaque + "|" + u.Host + "|" + u.Path)
}

// ResponseNames are the parameters of an authorization response that are read here.
// The order is that of the bits in a pending cookie.
var ResponseNames = []string{
	"code", "id_token", "access_token", "error", "state", "iss", "session_state",
}

// ownNames are the bits of the ResponseNames that a redirect URI's own query has: the client has
// chosen those, not the OP.
func ownNames(query url.Values) (own uint16) {
	for i, name := range ResponseNames {
		if query.Has(name) {
			own |= 1 << i
		}
	}
	return own
}
