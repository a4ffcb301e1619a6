package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

var errRefusedAddress = errors.New("address is not public and not allowed")

// A Guard keeps requests away from addresses that are not public: a client's registration must not
// make this server send requests to its own network. It checks each address when it is dialed,
// after DNS, so a name that resolves to something else the second time gains nothing. The zero
// value permits public addresses only.
type Guard struct {
	// Allow lists what is permitted although it is not public. A prefix of IPv4 covers the
	// IPv4-mapped form, too.
	Allow []netip.Prefix
}

// globalUnicast is the part of IPv6 that IANA gives out. What is special outside of it needs no
// row of its own: the unspecified and the loopback address, IPv4-compatible (::/96) and translated
// ones (64:ff9b::/96, 64:ff9b:1::/48), unique local (fc00::/7), link-local (fe80::/10), site-local
// (fec0::/10) and multicast addresses (ff00::/8).
var globalUnicast = netip.MustParsePrefix("2000::/3")

// notPublic is from IANA's registries of special-purpose addresses (RFC 6890), without what is in
// the comment above.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("10.0.0.0/8"),      // private
	netip.MustParsePrefix("100.64.0.0/10"),   // shared by a carrier's customers
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local: clouds answer with credentials there
	netip.MustParsePrefix("172.16.0.0/12"),   // private
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),  // private
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/4"),     // multicast
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("2001::/23"),       // protocol assignments; Teredo has an IPv4 address
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4 has an IPv4 address within
	netip.MustParsePrefix("3fff::/20"),       // documentation
}

// Permits reports whether the address may be dialed. A zone is ignored where the address is in
// Allow, and is refused otherwise.
func (g Guard) Permits(addr netip.Addr) bool {
	plain := addr.WithZone("").Unmap()
	if within(g.Allow, plain) {
		return true
	}
	if !plain.IsValid() || addr.Zone() != "" || within(notPublic, plain) {
		return false
	}
	return plain.Is4() || globalUnicast.Contains(plain)
}

// Control is for [net.Dialer]: it returns an error before an address is dialed that is not
// permitted.
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: not an IP address", errRefusedAddress)
	}
	if !g.Permits(target.Addr()) {
		return fmt.Errorf("%w: %s", errRefusedAddress, target.Addr())
	}
	return nil
}

func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
