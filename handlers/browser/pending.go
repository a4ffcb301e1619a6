package browser

import (
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A pending request is an authorization request that may yet be answered, in a sealed cookie. It
// is kept for some minutes after an answer, so that going back and answering again works.
type PendingRequest struct {
	// hash of where the redirect URI points, and of the state; zero: neither is known
	Answer   [16]byte
	Client   [16]byte               // hash of the client ID
	ClientID string                 // empty: it was too long for the cookie
	Issued   time.Time              // in whole seconds
	Browser  sessionstate.BrowserID // that asked; zero: it could not be given an ID
	Traits   traits
	Own      uint16 // which of the responseNames stand in the redirect URI's own query
}

// traits are what else is known of a request.
type traits byte

const (
	// SilentRequest requests have prompt=none: an answer to one signs nobody in (OpenID Connect
	// Core 1.0, section 3.1.2.1).
	SilentRequest traits = 1 << iota
	// PostingRequest requests may be answered by a page that posts itself (OAuth 2.0 Form Post
	// Response Mode 1.0).
	PostingRequest
	// BlindRequest requests are by a request object that cannot be read, so that neither their
	// state nor their redirect URI is known.
	BlindRequest
	// LogoutRequest requests are no authorization requests: the OP's own end_session endpoint was
	// asked to redirect there after a sign-out.
	LogoutRequest
	// BareRequest requests ask whether the user is signed in, and for nothing else.
	BareRequest
	// CodelessRequest requests have response_type=none: a success has neither code nor token
	// (OAuth 2.0 Multiple Response Type Encoding Practices, section 4).
	CodelessRequest
	// hashedClient requests have the hash of the client ID in their cookie, in place of a long
	// client ID.
	hashedClient
)

func (p PendingRequest) Is(t traits) bool { return p.Traits&t != 0 }

const (
	pendingPurpose  = "pending request"
	PendingLifetime = time.Hour
	// AnsweredLifetime is how long a request can be answered again.
	AnsweredLifetime = 5 * time.Minute
	// maxOpened is how many cookies of a request are opened: one of each name, unless somebody
	// sends many of one name.
	maxOpened   = 2 * len(handlers.NavigationSlots+handlers.OtherSlots)
	pendingHead = 16 + 16 + 1 + 2 + 4
	// MaxSealedID is the length in bytes up to which a client ID is in the cookie itself, so that
	// any server with the key knows it: the longest with which the value stays within 160
	// characters. UUIDs and most others are shorter.
	MaxSealedID = 40
)

// IsNavigationSlot reports whether a cookie's name is that of a navigation.
func IsNavigationSlot(name string) bool {
	return name != "" && strings.Contains(handlers.NavigationSlots, name[len(name)-1:])
}

// NewPendingRequest notes a request. ok is false for one that is over a bound or has no usable
// redirect URI.
func NewPendingRequest(clientID, redirectURI, state string, now time.Time) (p PendingRequest, ok bool) {
	target, err := url.Parse(redirectURI)
	if err != nil || !target.IsAbs() || clientID == "" {
		return PendingRequest{}, false
	}
	if len(clientID) > handlers.MaxClientID || len(redirectURI) > handlers.MaxLocation || len(state) > handlers.MaxState {
		return PendingRequest{}, false
	}
	return PendingRequest{
		Answer: HashAnswer(target, state), Client: handlers.Hash(clientID), ClientID: clientID,
		Issued: now.Truncate(time.Second), Own: ownNames(target.Query()),
	}, true
}

// NewBlindRequest notes a request by a request object that cannot be read.
func NewBlindRequest(clientID string, now time.Time) (p PendingRequest, ok bool) {
	p = PendingRequest{Client: handlers.Hash(clientID), ClientID: clientID, Issued: now.Truncate(time.Second), Traits: BlindRequest | PostingRequest}
	return p, clientID != "" && len(clientID) <= handlers.MaxClientID
}

// AnsweredBy reports whether a response to target with state answers the request.
func (p PendingRequest) AnsweredBy(target *url.URL, state string) bool {
	return !p.Is(BlindRequest|LogoutRequest) && p.Answer == HashAnswer(target, state)
}

// IsSame reports whether it is another one's request, sent again.
func (p PendingRequest) IsSame(other PendingRequest) bool {
	return p.Answer == other.Answer && p.Client == other.Client && p.Is(LogoutRequest) == other.Is(LogoutRequest)
}

// Answered is the request once it was answered. It counts as an old one then, which gives way to
// others.
func (p PendingRequest) Answered(now time.Time) PendingRequest {
	if issued := now.Truncate(time.Second).Add(AnsweredLifetime - PendingLifetime); p.Issued.After(issued) {
		p.Issued = issued
	}
	return p
}

func (p PendingRequest) Expired(now time.Time) bool { return now.Sub(p.Issued) >= PendingLifetime }

func (p PendingRequest) Seal(keys *sessionstate.Keyring, issuer string) string {
	client := []byte(p.ClientID)
	p.Traits &^= hashedClient
	if p.ClientID == "" || len(p.ClientID) > MaxSealedID {
		client, p.Traits = p.Client[:], p.Traits|hashedClient
	}
	value := append(make([]byte, 0, pendingHead+len(client)), p.Answer[:]...)
	value = append(value, p.Browser[:]...)
	value = append(value, byte(p.Traits))
	value = binary.BigEndian.AppendUint16(value, p.Own)
	value = binary.BigEndian.AppendUint32(value, uint32(p.Issued.Unix()))
	value = append(value, client...)
	return keys.Seal(pendingPurpose, issuer, value)
}

// OpenPendingRequest opens a cookie's value. ok is false when it is not ours or too old.
func OpenPendingRequest(keys *sessionstate.Keyring, issuer, sealed string, now time.Time) (p PendingRequest, ok bool) {
	value, _, err := keys.Open(pendingPurpose, issuer, sealed)
	if err != nil || len(value) <= pendingHead {
		return PendingRequest{}, false
	}
	value = value[copy(p.Answer[:], value):]
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

// HashAnswer is one hash of what must be right of an answer: where it goes, and its state.
func HashAnswer(target *url.URL, state string) [16]byte {
	to := hashTarget(target)
	return handlers.Hash(string(to[:]) + state)
}

// hashTarget is the hash of where a redirect URI points: its scheme, authority and path. Its query
// is left out, since OPs write the parameters behind it in ways of their own; the state tells two
// requests to one path apart.
func hashTarget(u *url.URL) [16]byte {
	if origin, err := sessionstate.Origin(u.String()); err == nil {
		path := u.Path
		if path == "" {
			path = "/"
		}
		return handlers.Hash(origin + path)
	}
	return handlers.Hash(u.Scheme + "|" + u.Opaque + "|" + u.Host + "|" + u.Path)
}

// ResponseNames are the parameters of an authorization response that are read here.
var ResponseNames = []string{"code", "id_token", "access_token", "error", "state", "iss", "session_state"}

// ownNames are those of the responseNames, as bits, that a redirect URI's own query has: the
// client has chosen them, and not the OP.
func ownNames(query url.Values) (own uint16) {
	for i, name := range ResponseNames {
		if query.Has(name) {
			own |= 1 << i
		}
	}
	return own
}
