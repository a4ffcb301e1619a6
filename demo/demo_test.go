package main

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

const exampleCaddyfile = "../Caddyfile.example"

// It runs all of the demo in this process, as "go run . -check" does.
func TestTheCheckPasses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := runCheck(ctx, &out, exampleCaddyfile, 0)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPortInUseIsNamedTogetherWithTheFlagThatChangesIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port

	_, err = startDemo(t.Context(), exampleCaddyfile, port)
	if err == nil {
		t.Fatal("the demo started on a port in use")
	}
	for _, want := range []string{strconv.Itoa(port), "-port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not name %s", err, want)
		}
	}
}

func TestAMissingCaddyfileIsAnError(t *testing.T) {
	_, err := startDemo(t.Context(), "no-such-file", 0)
	if err == nil || !strings.Contains(err.Error(), "no-such-file") {
		t.Fatalf("the error is %v", err)
	}
}
