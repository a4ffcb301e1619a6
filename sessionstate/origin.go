package sessionstate

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrNoOrigin says that a URI is neither http nor https. Its origin is opaque and serializes to
// "null" (RFC 6454, section 4), so a session_state has no meaning there.
var ErrNoOrigin = errors.New("URI has no web origin")

// ErrInvalidURI says that a string is not an absolute URI that a browser would navigate to.
var ErrInvalidURI = errors.New("invalid URI")

// Origin returns the origin of a redirect URI as browsers serialize it, which is the e.origin of
// an RP's messages at the check page. It is scheme and host in lower case, with "://" between, and
// the port unless it is the scheme's default (RFC 6454, section 6.2). Host names in other scripts
// become A-labels (UTS #46); IP addresses take their shortest form.
//
// It fails with [ErrNoOrigin] for a custom scheme. It fails with [ErrInvalidURI] where browsers
// and Go's parser differ: user information, a zone, a number that is not a plain IPv4 address, a
// backslash.
func Origin(redirectURI string) (string, error) {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return "", ErrInvalidURI // without the parser's error, which has the URI: it may be secret
	}
	defaultPort, ok := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if !ok {
		if u.Scheme == "" {
			return "", fmt.Errorf("%w: it is not absolute", ErrInvalidURI)
		}
		return "", ErrNoOrigin
	}
	if u.User != nil {
		return "", fmt.Errorf("%w: it has user information", ErrInvalidURI)
	}
	host, err := canonicalHost(u)
	if err != nil {
		return "", err
	}
	port, err := canonicalPort(u)
	if err != nil {
		return "", err
	}
	if port == "" || port == defaultPort {
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + port, nil
}

// hostProfile maps host names as browsers do (WHATWG URL, domain to ASCII, not strict).
var hostProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
	idna.CheckJoiners(true),
	idna.BidiRule(),
)

// forbiddenInHost has the forbidden domain code points (WHATWG URL) that Go's parser and idna
// accept.
const forbiddenInHost = " #%/:<>?@[\\]^|\x7f"

func canonicalHost(u *url.URL) (string, error) {
	name := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		return canonicalIPv6(name)
	}
	if !utf8.ValidString(name) || hasBrokenALabel(name) { // idna encodes these, browsers do not
		return "", fmt.Errorf("%w: its host is no host name", ErrInvalidURI)
	}
	host, err := hostProfile.ToASCII(name)
	if err != nil || strings.ContainsAny(host, forbiddenInHost) || hasControl(host) ||
		!isParsedAs(host) {
		return "", fmt.Errorf("%w: its host is no host name", ErrInvalidURI)
	}
	if !endsInNumber(host) {
		return host, nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Is4() {
		return "", fmt.Errorf("%w: its host is no plain IPv4 address", ErrInvalidURI)
	}
	return host, nil
}

// isParsedAs reports whether Go's parser accepts a mapped host name unchanged. It rejects some
// characters, but not their full-width forms, which idna maps to them.
func isParsedAs(host string) bool {
	u, err := url.Parse("http://" + host)
	return err == nil && host != "" && u.Host == host
}

func canonicalIPv6(name string) (string, error) {
	ip, err := netip.ParseAddr(name)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", fmt.Errorf("%w: its host is no IPv6 address", ErrInvalidURI)
	}
	if !ip.Is4In6() {
		return "[" + ip.String() + "]", nil
	}
	b := ip.As16() // browsers write mapped addresses in hexadecimal, netip does not
	high := uint64(b[12])<<8 | uint64(b[13])
	low := uint64(b[14])<<8 | uint64(b[15])
	return "[::ffff:" + strconv.FormatUint(high, 16) + ":" + strconv.FormatUint(low, 16) + "]", nil
}

func canonicalPort(u *url.URL) (string, error) {
	if u.Port() == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return "", fmt.Errorf("%w: its port is no port", ErrInvalidURI)
	}
	return strconv.FormatUint(n, 10), nil
}

// hasBrokenALabel reports whether a label looks like an A-label, but encodes nothing, or is not
// ASCII once it is mapped. A letter in front keeps idna from decoding the mapped label.
func hasBrokenALabel(name string) bool {
	isDot := func(r rune) bool { return strings.ContainsRune(".。．｡", r) } // as mapped by UTS #46
	for label := range strings.FieldsFuncSeq(name, isDot) {
		mapped, _ := hostProfile.ToASCII("x" + label) // canonicalHost gets the error
		if mapped == "xxn--" || strings.HasPrefix(mapped, "xn--xxn--") {
			return true
		}
	}
	return false
}

// endsInNumber reports whether a browser would read the host as an IPv4 address (WHATWG URL, "ends
// in a number checker").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return false
	}
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	digits, hex := strings.CutPrefix(last, "0x")
	return hex && strings.Trim(digits, "0123456789abcdef") == ""
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 })
}
