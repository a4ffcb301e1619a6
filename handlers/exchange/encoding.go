package exchange

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

var (
	// ErrTooLarge says that the OP's response was over the bound.
	ErrTooLarge = errors.New("answer is too large")

	errEncoding = errors.New("unexpected content coding")
)

// Unencoded returns the request for a response without a content coding, which the OP, or an
// `encode` of the site behind us, would else choose from what the client accepts. The caller's
// request stays as it is.
func Unencoded(r *http.Request) *http.Request {
	plain := r.WithContext(r.Context())
	plain.Header = r.Header.Clone()
	plain.Header.Set("Accept-Encoding", "identity")
	return plain
}

// Readable returns the request for a response that [Decode] can read: with gzip, if the client
// accepts that, or without a content coding. The caller's request stays as it is.
func Readable(r *http.Request) *http.Request {
	readable := Unencoded(r)
	if slices.Contains(encode.AcceptedEncodings(r, nil), "gzip") {
		readable.Header.Set("Accept-Encoding", "gzip")
	}
	return readable
}

// Decode returns a body without its content coding, for OPs that compress although identity was
// asked for: gzip is undone, up to limit bytes.
func Decode(header http.Header, body []byte, limit int) ([]byte, error) {
	switch strings.ToLower(strings.Join(header.Values("Content-Encoding"), ",")) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gunzip(body, limit)
	default:
		return nil, errEncoding
	}
}

func gunzip(body []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("undoing gzip: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("undoing gzip: %w", err)
	}
	if len(plain) > limit {
		return nil, ErrTooLarge
	}
	return plain, nil
}
