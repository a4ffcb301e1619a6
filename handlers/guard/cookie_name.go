package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const certificatePrefix = "oidc_guard_"

// cutPrefix cuts the prefix off a cookie's name that binds it to an origin (RFC 6265bis, section
// 4.1.3). Browsers compare it without regard to case.
func cutPrefix(name string) (prefix, rest string) {
	for _, prefix := range [...]string{"__Host-", "__Secure-"} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return prefix, name[len(prefix):]
		}
	}
	return "", name
}

// A certificateID is what the name of a certificate says about the cookie that it is for: its
// prefix, and a hash of its name.
type certificateID struct {
	prefix string
	hash   [8]byte
}

// certificateIDOf returns what certificates of a cookie are found by. It allocates nothing.
func certificateIDOf(cookie string) (id certificateID) {
	id.prefix, _ = cutPrefix(cookie)
	sum := sha256.Sum256([]byte(cookie))
	hex.Encode(id.hash[:], sum[:4])
	return id
}

// certificateName returns the name of a cookie's certificate: not one that begins like the
// cookie's, since Auth.js takes all those for its own.
func certificateName(cookie string) string {
	id := certificateIDOf(cookie)
	return id.prefix + certificatePrefix + string(id.hash[:])
}

// parseCertificateName reads the name of a certificate. ok is false for that of another cookie.
func parseCertificateName(name string) (id certificateID, ok bool) {
	prefix, rest := cutPrefix(name)
	hash, ok := strings.CutPrefix(rest, certificatePrefix)
	if !ok || len(hash) != len(id.hash) {
		return id, false
	}
	return certificateID{prefix, [8]byte([]byte(hash))}, true
}

// isCertificateName reports whether a cookie is a certificate, by its name.
func isCertificateName(name string) bool {
	_, is := parseCertificateName(name)
	return is
}

// hostOf returns the host name of a Host header, as cookies know it. It allocates nothing for names
// in lower case.
func hostOf(host string) string {
	colon, bracket := strings.LastIndexByte(host, ':'), strings.LastIndexByte(host, ']')
	if colon > bracket {
		host = host[:colon]
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// chunkOf splits the name of a chunk of a cookie that is too long for one: NAME.0, NAME.1, and so
// on, or NAME_0. ok is false for all other names.
func chunkOf(cookie string) (base string, first, ok bool) {
	end := len(cookie)
	for end > 0 && '0' <= cookie[end-1] && cookie[end-1] <= '9' {
		end--
	}
	digits := cookie[end:]
	if end < 2 || digits == "" || len(digits) > 2 || cookie[end-1] != '.' && cookie[end-1] != '_' {
		return "", false, false
	}
	return cookie[:end], digits == "0", true
}

// isLaterChunk reports whether a cookie is a chunk that is worth nothing without the first one,
// which alone is certified. That the browser says there is a first one is not enough: the server
// must have set it.
func (p *passage) isLaterChunk(cookie string) bool {
	base, first, ok := chunkOf(cookie)
	if !ok || first {
		return false
	}
	if _, found := p.site.find(base + "0"); found {
		return true
	}
	if p.setsAnywhere(base + "0") {
		return true
	}
	_, seen := p.Guard.set.Get(p.setKey(base + "0"))
	return seen
}
