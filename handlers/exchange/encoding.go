package exchange

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// errEncoding says that a response has a content coding that is not undone here.
var errEncoding = errors.New("unexpected content coding")

// Unencoded returns the request for a response without a content coding, which the OP, or an
// `encode` of the site behind us, would else choose from what the client takes. The caller's
// request stays as it is.
func Unencoded(r *http.Request) *http.Request {
	plain := r.WithContext(r.Context())
	plain.Header = r.Header.Clone()
	plain.Header.Set("Accept-Encoding", "identity")
	return plain
}

// Readable returns the request for a response that can be read: with gzip, if the client takes
// that, or without a content coding.
func Readable(r *http.Request) *http.Request {
	plain := Unencoded(r)
	for coding := range strings.SplitSeq(strings.Join(r.Header["Accept-Encoding"], ","), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if name == "gzip" && (weight == "" || strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "") {
			plain.Header.Set("Accept-Encoding", "gzip")
		}
	}
	return plain
}

// Decode returns a body without its content coding, for OPs that compress although identity was
// asked for: gzip is undone, up to limit bytes.
func Decode(header http.Header, body []byte, limit int) ([]byte, error) {
	switch coding := strings.ToLower(strings.Join(header.Values("Content-Encoding"), ",")); coding {
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

// ErrTooLarge says that the OP's answer was over the bound.
var ErrTooLarge = errors.New("answer is too large")
