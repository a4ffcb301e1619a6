//go:build !unix

// Package freeport holds ports for tests, for servers that must know theirs before they listen.
package freeport

import (
	"net"
	"testing"
)

// Hold returns a port that was free a moment ago: there is no way here to hold it.
func Hold(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
