package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

var (
	errNoURI  = errors.New("not an absolute http or https URI")
	errBroken = errors.New("connection broke before an answer of HTTP")
)

// describe says why there is no answer, in words of our own: an error of net/http may contain what
// the client sent, and a client can send back the request.
func describe(ctx context.Context, err error) error {
	var (
		lookup  *net.DNSError
		invalid *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		errno   syscall.Errno
		timeout net.Error
	)
	switch {
	case errors.Is(err, errRefusedAddress):
		return refused(err)
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("try was ended: %w", context.Canceled)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer within %v: %w", tryTimeout, context.DeadlineExceeded)
	case errors.As(err, &lookup):
		return fmt.Errorf("host not found: %s", short(lookup.Err))
	case errors.As(err, &invalid):
		return fmt.Errorf("certificate not valid: %s", short(invalid.Err.Error()))
	case errors.As(err, &record), errors.As(err, &alert):
		return errors.New("TLS handshake failed")
	case errors.As(err, &errno):
		return fmt.Errorf("connection failed: %s", errno.Error())
	default:
		return errBroken
	}
}

// refused returns what the guard said, without the address and port that net puts around it.
func refused(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && errors.Is(op.Err, errRefusedAddress) {
		return op.Err
	}
	return errRefusedAddress
}

// maxWhy bounds what is recorded and logged of a failure, in bytes.
const maxWhy = 200

// short cuts a text that is too long: a certificate may have many names.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxWhy)], "") }
