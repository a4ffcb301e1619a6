//go:build unix

package integration

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// freePort returns a port that is the test's until it ends. The socket that holds it is bound and
// does not listen: Caddy's own sockets share the port with it, since all have SO_REUSEPORT.
func freePort(t *testing.T) int {
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
