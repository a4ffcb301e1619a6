package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// loopbackTransport reaches *.localhost, which browsers know to be this machine and Go does not.
// It goes nowhere else, and through no proxy.
func loopbackTransport() *http.Transport {
	return &http.Transport{
		DialContext:           dialLoopback,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       30 * time.Second,
	}
}

func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "127.0.0.1" && !strings.HasSuffix(host, ".localhost") {
		return nil, fmt.Errorf("%s is not on this machine", host)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// listenAddresses returns where Caddy shall listen: on loopback only, for IPv4 and, where there is
// one, IPv6. It fails if somebody else listens there; Caddy would not notice, because it shares
// its ports for the sake of reloads.
func listenAddresses(port int) ([]string, error) {
	ipv4 := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", ipv4)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	addresses := []string{ipv4}

	if l6, err := net.Listen("tcp", "[::1]:0"); err != nil {
		return addresses, nil // no IPv6 on this machine
	} else {
		l6.Close()
	}
	ipv6 := fmt.Sprintf("[::1]:%d", port)
	l6, err := net.Listen("tcp", ipv6)
	if err != nil {
		return nil, err
	}
	defer l6.Close()
	return append(addresses, ipv6), nil
}

// freePort returns a port that nobody listens on just now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
