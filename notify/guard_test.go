package notify

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestThreatCVE20264874TheGuardPermitsPublicAddressesOnly(t *testing.T) {
	tests := []struct {
		name    string
		address string
		want    bool
	}{
		{"a public address", "93.184.215.14", true},
		{"a public resolver", "8.8.8.8", true},
		{"a public IPv6 address", "2606:2800:220:1::1", true},
		{"a public address in mapped form", "::ffff:93.184.215.14", true},
		{"the last before 10/8", "9.255.255.255", true},
		{"the first after 10/8", "11.0.0.0", true},
		{"the first after the carriers' share", "100.128.0.0", true},
		{"the first after 172.16/12", "172.32.0.0", true},
		{"the first after the benchmarks", "198.20.0.0", true},
		{"the last before multicast", "223.255.255.255", true},
		{"the first after Teredo and its like", "2001:200::1", true},

		{"loopback", "127.0.0.1", false},
		{"loopback, another", "127.255.255.254", false},
		{"loopback of IPv6", "::1", false},
		{"loopback in mapped form", "::ffff:127.0.0.1", false},
		{"loopback in compatible form", "::127.0.0.1", false},
		{"loopback behind NAT64", "64:ff9b::127.0.0.1", false},
		{"loopback behind a NAT64 of one's own", "64:ff9b:1::7f00:1", false},
		{"loopback within 6to4", "2002:7f00:1::1", false},
		{"an address within Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2", false},
		{"a cloud's metadata", "169.254.169.254", false},
		{"a cloud's metadata in mapped form", "::ffff:169.254.169.254", false},
		{"a cloud's metadata in IPv6", "fd00:ec2::254", false},
		{"private 10/8", "10.0.0.1", false},
		{"private 172.16/12, its last", "172.31.255.255", false},
		{"private 192.168/16", "192.168.1.1", false},
		{"private in mapped form", "::ffff:10.0.0.1", false},
		{"unique local", "fd12:3456::1", false},
		{"unique local, the other half", "fc00::1", false},
		{"site-local", "fec0::1", false},
		{"link-local", "fe80::1", false},
		{"link-local with a zone", "fe80::1%eth0", false},
		{"public with a zone", "2606:2800:220:1::1%eth0", false},
		{"unspecified", "0.0.0.0", false},
		{"unspecified of IPv6", "::", false},
		{"this network", "0.1.2.3", false},
		{"a carrier's share", "100.64.0.1", false},
		{"protocol assignments", "192.0.0.8", false},
		{"benchmarks", "198.19.255.255", false},
		{"documentation 1", "192.0.2.1", false},
		{"documentation 2", "198.51.100.1", false},
		{"documentation 3", "203.0.113.1", false},
		{"documentation of IPv6", "2001:db8::1", false},
		{"more documentation of IPv6", "3fff::1", false},
		{"6to4 relays", "192.88.99.1", false},
		{"multicast", "224.0.0.1", false},
		{"multicast of IPv6", "ff02::1", false},
		{"reserved", "240.0.0.1", false},
		{"broadcast", "255.255.255.255", false},
		{"discard", "100::1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (Guard{}).Permits(netip.MustParseAddr(test.address)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if (Guard{}).Permits(netip.Addr{}) {
		t.Error("the zero address is permitted")
	}
}

func TestTheGuardPermitsWhatTheOperatorAllows(t *testing.T) {
	guard := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128")}}
	for address, want := range map[string]bool{
		"10.1.2.3":           true,
		"::ffff:10.1.2.3":    true, // the same address
		"10.2.0.1":           false,
		"::ffff:10.2.0.1":    false,
		"64:ff9b::10.1.2.3":  false, // what a gateway makes of it is not what was allowed
		"fe80::1%eth0":       true,
		"::1":                true,
		"127.0.0.1":          false,
		"2606:2800:220:1::1": true, // public as before
	} {
		if got := guard.Permits(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}

// A name can resolve to a public address when it is checked and to loopback when it is dialed, so
// the check has to be at the dialing: it sees the address that the socket gets.
func TestTheGuardLooksAtTheAddressWhenItIsDialed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	for _, name := range []string{"localhost", "127.0.0.1", "::ffff:127.0.0.1"} {
		conn, err := (&net.Dialer{Control: Guard{}.Control}).DialContext(t.Context(), "tcp", net.JoinHostPort(name, port))
		if !errors.Is(err, errRefusedAddress) {
			t.Errorf("%s: got error %v, want that the address is refused", name, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
		allowed := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
		conn, err = (&net.Dialer{Control: allowed.Control}).DialContext(t.Context(), "tcp", net.JoinHostPort(name, port))
		if err != nil {
			t.Errorf("%s, allowed: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
}

// The resolver here answers with a public address first and with loopback from then on, as a
// rebinding attacker's does.
func TestThreatCVE20264874ANameThatFlipsBetweenTwoDialsIsRefusedTheSecondTime(t *testing.T) {
	answers := []string{"93.184.215.14:443", "127.0.0.1:443"}
	for i, want := range []error{nil, errRefusedAddress} {
		if err := (Guard{}).Control("tcp4", answers[i], nil); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", answers[i], err, want)
		}
	}
	if err := (Guard{}).Control("unix", "/run/docker.sock", nil); !errors.Is(err, errRefusedAddress) {
		t.Errorf("a socket in the file system: got %v", err)
	}
}

func TestASenderRefusesLocalTargets(t *testing.T) {
	r := newReceiver(t, answers(200))
	s := NewSender(Guard{}, theCA.pool)
	for _, uri := range []string{r.server.URL, "https://localhost:" + r.port(), "https://169.254.169.254/latest/meta-data", "http://[::1]:" + r.port(), "http://[::ffff:127.0.0.1]:" + r.port(), "http://2130706433:" + r.port(), "http://0.0.0.0:" + r.port()} {
		got := s.Send(context.Background(), uri, "secret")
		if got.delivered() || got.Err == nil {
			t.Errorf("%s: got %+v", uri, got)
		}
	}
	if n := len(r.tokens()); n != 0 {
		t.Errorf("the local service was asked %d times", n)
	}
	if got := s.Send(context.Background(), "https://localhost:"+r.port(), "secret"); !got.mayPass() || !errors.Is(got.Err, errRefusedAddress) {
		t.Errorf("got %+v", got)
	}
}
