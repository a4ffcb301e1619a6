//go:build !unix

package integration

import (
	"net"
	"testing"
)

// freePort returns a port that was free a moment ago: there is no way here to hold it.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
