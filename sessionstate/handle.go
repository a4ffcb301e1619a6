package sessionstate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// A Handle is the salt of a session_state. It holds, sealed, the session that the state belongs
// to, so that nothing has to be stored for it.
type Handle struct {
	// Session is zero if the response was an error, or the browser was not signed in.
	Session SessionID
	// Response is the authorization response that carries the handle; zero if it has no code: only
	// one that is redeemed later can turn out to be another user's.
	Response ResponseID
	// Until is when the session expires at the latest, in whole seconds, as known when the handle
	// was made. A session without a record may be live until then.
	Until time.Time

	audience [16]byte
}

const (
	handlePurpose = "handle"
	handleSize    = 16 + 16 + 16 + 4
)

// NewHandle returns a handle for one client at one origin.
func NewHandle(clientID, origin string) Handle {
	return Handle{audience: audience(clientID, origin)}
}

// IsFor reports in constant time whether the handle was made for the client at the origin.
func (h Handle) IsFor(clientID, origin string) bool {
	want := audience(clientID, origin)
	return hmac.Equal(h.audience[:], want[:])
}

// SealHandle returns the handle as a salt for [Compute]: unpadded base64url of fixed length,
// different each time.
func (k *Keyring) SealHandle(issuer string, h Handle) string {
	value := make([]byte, 0, handleSize)
	value = append(value, h.Session[:]...)
	value = append(value, h.Response[:]...)
	value = append(value, h.audience[:]...)
	value = binary.BigEndian.AppendUint32(value, uint32(h.Until.Unix()))
	return k.Seal(handlePurpose, issuer, value)
}

// OpenHandle opens a handle that [Keyring.SealHandle] sealed under any of the keys. Its only error
// is [ErrSeal].
func (k *Keyring) OpenHandle(issuer, salt string) (Handle, error) {
	value, _, err := k.Open(handlePurpose, issuer, salt)
	if err != nil || len(value) != handleSize {
		return Handle{}, ErrSeal
	}
	var h Handle
	value = value[copy(h.Session[:], value):]
	value = value[copy(h.Response[:], value):]
	value = value[copy(h.audience[:], value):]
	h.Until = time.Unix(int64(binary.BigEndian.Uint32(value)), 0).UTC()
	return h, nil
}

func audience(clientID, origin string) [16]byte {
	sum := sha256.Sum256([]byte("audience\x00" + clientID + "\x00" + origin))
	return [16]byte(sum[:16])
}

// NewResponseID returns the ID of the authorization response that carries a code. An empty code
// has the zero ID.
func NewResponseID(code string) ResponseID { return responseID("code", code) }

// NewIDTokenResponseID returns the ID of the authorization response that carries an ID token and
// no code. No code has the same ID. An empty ID token has the zero ID.
func NewIDTokenResponseID(idToken string) ResponseID { return responseID("id_token", idToken) }

func responseID(kind, value string) ResponseID {
	if value == "" {
		return ResponseID{}
	}
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return ResponseID(sum[:16])
}
