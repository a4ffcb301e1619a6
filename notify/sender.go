package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tryTimeout is how long one try takes at most, from the look-up of the host to the answer's
// status.
const tryTimeout = 5 * time.Second

const (
	maxAnswer = 64 << 10 // of an answer's body, and of its header
	// for the body, which is read so that its sender is not reset
	drainTimeout  = 500 * time.Millisecond
	maxRetryAfter = time.Hour
	userAgent     = "caddy-oidc-session"
)

// A Result is what became of one try. The registry's Outcome follows from it.
type Result struct {
	Status     int           // the answer's; 0: there was none
	RetryAfter time.Duration // what the client asked for, an hour at most; 0: nothing
	Err        error         // why there is no answer; contains neither the token nor the URI
	Redirect   string        // the origin that the answer redirects to; empty: it does not
}

// delivered reports whether the client has ended its session: 2xx (Back-Channel Logout 1.0,
// section 2.8, asks for 200 and takes 204 for it; 201 and 202 are in use, too).
func (r Result) delivered() bool { return r.Status >= 200 && r.Status < 300 }

// mayPass reports whether another try is allowed, since the failure may pass (section 2.5): there
// was no answer, or it was 429 or 5xx. All else is permanent, redirects too.
func (r Result) mayPass() bool {
	if r.Status == 0 {
		return !errors.Is(r.Err, errNoURI) && !errors.Is(r.Err, ErrCannotSign)
	}
	return r.Status == http.StatusTooManyRequests || r.Status >= 500 && r.Status < 600
}

// A Sender posts logout tokens. Use [NewSender].
type Sender struct {
	transport *http.Transport
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewSender returns a sender that dials what the guard permits, and trusts certificates of these
// roots; nil: the system's.
func NewSender(guard Guard, roots *x509.CertPool) *Sender {
	dialer := &net.Dialer{Timeout: tryTimeout, Control: guard.Control}
	s := &Sender{dial: dialer.DialContext}
	s.transport = &http.Transport{
		// No proxy, not even the environment's: the guard would see the proxy's address only.
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tryTimeout,
		ResponseHeaderTimeout:  tryTimeout,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true, // nothing of the body is used
		// net/http takes a connection for idle before it hands over an answer without a body. One
		// that is closed then (too many are idle, or a reload closes them) has delivered its
		// notice and says that it failed. And common servers close idle connections, which fails
		// a request that meets the close. So none is used twice, and as many are open as there
		// are tries.
		DisableKeepAlives: true,
	}
	return s
}

// Send posts a logout token to a client's backchannel_logout_uri (section 2.5). It follows no
// redirect: the token is for this address.
func (s *Sender) Send(ctx context.Context, uri, logoutToken string) Result {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	body := url.Values{"logout_token": {logoutToken}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return Result{Err: errNoURI}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", userAgent)

	// Not by an http.Client, which would follow redirects.
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return Result{Err: describe(ctx, err)}
	}
	defer func() { _ = resp.Body.Close() }()
	result := Result{Status: resp.StatusCode, Redirect: redirect(resp)}
	if result.mayPass() {
		result.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return result // its body is the connection itself, which no context ends
	}
	drain := time.AfterFunc(drainTimeout, cancel)
	defer drain.Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return result
}

// redirect returns the origin that an answer redirects to; empty: it does not. The rest of the
// address may hold what the client made of the token.
func redirect(resp *http.Response) string {
	target, err := resp.Location()
	if err != nil || resp.StatusCode < 300 || resp.StatusCode > 399 || target.Host == "" {
		return ""
	}
	return (&url.URL{Scheme: target.Scheme, Host: target.Host}).String()
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds, or a date. What it cannot read
// is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if date, err := http.ParseTime(header); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	seconds, err := strconv.ParseUint(header, 10, 64)
	if err != nil && !isDigits(header) {
		return 0
	}
	// too large for the type is its maximum
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
