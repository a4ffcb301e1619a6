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

// certificateHash is what the name of a cookie's certificate ends with.
func certificateHash(name string) (out [8]byte) {
	sum := sha256.Sum256([]byte(name))
	hex.Encode(out[:], sum[:4])
	return out
}

// certificateName returns the name of a cookie's certificate: not one that begins like the
// cookie's, since Auth.js takes all those for its own.
func certificateName(name string) string {
	prefix, _ := cutPrefix(name)
	hash := certificateHash(name)
	return prefix + certificatePrefix + string(hash[:])
}

// isCertificateName reports whether a cookie is a certificate, by its name.
func isCertificateName(name string) bool {
	_, rest := cutPrefix(name)
	return len(rest) == len(certificatePrefix)+8 && strings.HasPrefix(rest, certificatePrefix)
}

// isCertificateOf reports whether a certificate is that of a cookie, by their names. It allocates
// nothing.
func isCertificateOf(certificate, name string) bool {
	prefix, _ := cutPrefix(name)
	has, rest := cutPrefix(certificate)
	hash := certificateHash(name)
	return prefix == has && rest[len(certificatePrefix):] == string(hash[:])
}

// hostOf returns the host name of a Host header, as cookies know it. It allocates nothing for names
// in lower case.
func hostOf(host string) string {
	colon, bracket := strings.LastIndexByte(host, ':'), strings.LastIndexByte(host, ']')
	if colon > bracket {
		host = host[:colon]
	}
	return strings.ToLower(strings.Trim(host, "[]"))
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
// which alone is certified.
func (p *passage) isLaterChunk(cookie string) bool {
	base, first, ok := chunkOf(cookie)
	if !ok || first {
		return false
	}
	if _, found := p.site.find(base + "0"); found {
		return true
	}
	for i := range p.cookies {
		if p.cookies[i].name == base+"0" {
			return true
		}
	}
	for i := range p.set {
		if p.set[i].name == base+"0" {
			return true
		}
	}
	return false
}
