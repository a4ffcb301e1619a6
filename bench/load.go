package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// connections is how many requests to a site are under way at once.
const connections = 2

// sendLimit is how long one call of send may take.
const sendLimit = 30 * time.Second

// A load is requests to one site, over connections that are kept.
type load struct {
	name     string
	requests [][]byte // sent in turn
	body     string   // of every response: a benchmark of errors is worthless
	// the body of a response that says that a busy machine could not tell in time; empty: there is
	// none such
	late     string
	status   int    // of every response; zero: 200
	location string // of every response, where it sends the browser; empty: nowhere
	// reports whether the header of a response is as it must be; nil: any is
	check func(http.Header) bool
	next  int
	lates atomic.Int64 // how many responses were late

	conns   [connections]net.Conn
	readers [connections]*bufio.Reader
}

// dial opens the connections.
func (l *load) dial(ctx context.Context, address string) error {
	var dialer net.Dialer
	for i := range l.conns {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		l.conns[i], l.readers[i] = conn, bufio.NewReader(conn)
	}
	return nil
}

func (l *load) close() {
	for _, conn := range l.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// send sends n requests, a multiple of the number of connections, and reads their responses.
func (l *load) send(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	start, errs := l.next, make(chan error, connections)
	l.next += n
	for i := range l.conns {
		go func() { errs <- l.sendOver(i, start, n) }()
	}
	var all error
	for range l.conns {
		all = errors.Join(all, <-errs)
	}
	return all
}

// sendOver sends one connection's part.
func (l *load) sendOver(i, start, n int) error {
	if err := l.conns[i].SetDeadline(time.Now().Add(sendLimit)); err != nil {
		return err
	}
	for k := i; k < n; k += connections {
		if _, err := l.conns[i].Write(l.requests[(start+k)%len(l.requests)]); err != nil {
			return err
		}
		if err := l.receive(l.readers[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) receive(from *bufio.Reader) error {
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if l.late != "" && string(body) == l.late {
		l.lates.Add(1)
		return nil
	}
	if response.StatusCode != cmp.Or(l.status, http.StatusOK) || string(body) != l.body {
		return fmt.Errorf("the answer is %s: %.100q", response.Status, body)
	}
	if response.Header.Get("Location") != l.location {
		return fmt.Errorf("the answer is %s, to elsewhere than %q", response.Status, l.location)
	}
	if l.check != nil && !l.check(response.Header) {
		return fmt.Errorf("the answer has another header: %v", response.Header)
	}
	return nil
}
