//go:build unix

// Package freeport holds ports for tests, for servers that must know theirs before they listen.
package freeport

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Hold returns a port of the loopback address that is the test's until it ends. The
// socket that holds it is bound and does not listen: servers share the port with it whose sockets
// have SO_REUSEPORT, as Caddy's have.
func Hold(t testing.TB) int {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(socket) })
	unix.CloseOnExec(socket)
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err := errors.Join(err, unix.Bind(socket, loopback)); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return bound.(*unix.SockaddrInet4).Port
}
