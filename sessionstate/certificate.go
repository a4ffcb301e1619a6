package sessionstate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
)

// A Certificate says which session a cookie of an app belongs to. It is a cookie of its own beside
// the app's, which stays as the app has set it.
//
// It holds for one value of one cookie: its name, its value, and its host or its Domain go into a
// hash. A copy of the app's cookie without it is worth nothing, nor is it beside another value.
type Certificate struct {
	// Session is the session in which the cookie was set; zero: there was none.
	Session SessionID
	// Serial identifies a certificate without a session, so that what was set before a sign-in can
	// be recorded as belonging to it; zero: it has a session.
	Serial Serial
	// Path and Domain are the attributes with which the cookie was set, by which it can be expired.
	// An empty Path is not known; an empty Domain is that of a host-only cookie.
	Path, Domain string
	// Partitioned: it was set for one top-level site alone (CHIPS), likewise.
	Partitioned bool

	fingerprint [16]byte
}

// A Serial is the random number of a certificate without a session.
type Serial [16]byte

// NewSerial draws a Serial.
func NewSerial() (s Serial) {
	_, _ = rand.Read(s[:]) // never fails: crypto/rand ends the program instead
	return s
}

const (
	certificatePurpose = "certificate"

	certificateSize = 1 + 16 + 16 // and the Path and the Domain, if they have to be named
	maxCookieScope  = 255         // bytes of a Path or a Domain
)

// The first byte of a certificate.
const (
	withSession = 1 << iota
	withPath    // one that is not /
	withoutPath // it is too long
	withDomain
	partitioned
)

// NewCertificate returns a certificate for a cookie that is sent to a host, without session and
// serial. An empty domain is that of a host-only cookie.
func NewCertificate(name, value, host, domain, path string) Certificate {
	if len(path) > maxCookieScope {
		path = ""
	}
	c := Certificate{Path: path, Domain: domain}
	c.fingerprint = c.fingerprintOf(name, value, host)
	return c
}

// IsFor reports whether the certificate is for a value of a cookie that was sent to a host.
func (c *Certificate) IsFor(name, value, host string) bool {
	if c.Domain != "" && host != c.Domain && !strings.HasSuffix(host, "."+c.Domain) {
		return false
	}
	want := c.fingerprintOf(name, value, host)
	return hmac.Equal(c.fingerprint[:], want[:])
}

func (c *Certificate) fingerprintOf(name, value, host string) [16]byte {
	kind, place := "host ", host
	if c.Domain != "" {
		kind, place = "domain ", c.Domain
	}
	text := make([]byte, 0, 512) // no allocation, where it suffices
	text = slices.Grow(text, len(certificatePurpose)+len(name)+len(kind)+len(place)+len(value)+4)
	text = append(append(text, certificatePurpose...), 0)
	text = append(append(text, name...), 0)
	text = append(append(append(text, kind...), place...), 0)
	text = append(append(text, value...), 0)
	sum := sha256.Sum256(text)
	return [16]byte(sum[:16])
}

// SealCertificate returns the value of the certificate's cookie: unpadded base64url, 99 characters
// for a host-only cookie of the whole site. A Domain is at most 255 bytes long.
func (k *Keyring) SealCertificate(c Certificate) string {
	value := make([]byte, 1, 128)
	if c.Session.IsZero() {
		value = append(value, c.Serial[:]...)
	} else {
		value[0] |= withSession
		value = append(value, c.Session[:]...)
	}
	value = append(value, c.fingerprint[:]...)
	if c.Partitioned {
		value[0] |= partitioned
	}
	switch c.Path {
	case "/":
	case "":
		value[0] |= withoutPath
	default:
		value[0] |= withPath
		value = append(append(value, byte(len(c.Path))), c.Path...)
	}
	if c.Domain != "" {
		value[0] |= withDomain
		value = append(append(value, byte(len(c.Domain))), c.Domain...)
	}
	return k.Seal(certificatePurpose, "", value)
}

// OpenCertificate opens a certificate that [Keyring.SealCertificate] sealed under any of the keys.
// Its only error is [ErrSeal].
func (k *Keyring) OpenCertificate(sealed string) (Certificate, error) {
	value, _, err := k.Open(certificatePurpose, "", sealed)
	if err != nil || len(value) < certificateSize {
		return Certificate{}, ErrSeal
	}
	has, value := value[0], value[1:]
	c := Certificate{Path: "/", Partitioned: has&partitioned != 0}
	if has&withSession != 0 {
		value = value[copy(c.Session[:], value):]
	} else {
		value = value[copy(c.Serial[:], value):]
	}
	value = value[copy(c.fingerprint[:], value):]
	ok := true
	switch {
	case has&withoutPath != 0:
		c.Path = ""
	case has&withPath != 0:
		c.Path, value, ok = cutText(value)
	}
	if ok && has&withDomain != 0 {
		c.Domain, value, ok = cutText(value)
	}
	if !ok || len(value) != 0 {
		return Certificate{}, ErrSeal
	}
	return c, nil
}

// cutText cuts off a text behind its length.
func cutText(value []byte) (text string, rest []byte, ok bool) {
	if len(value) == 0 || len(value)-1 < int(value[0]) {
		return "", nil, false
	}
	end := 1 + int(value[0])
	return string(value[1:end]), value[end:], true
}
