package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// TryTimeout is how long one try takes at the most, from the look-up of the host to the status of the answer.
const TryTimeout = 5 * time.Second

const (
	maxAnswer     = 64 << 10               // of an answer's body, and of its header
	drainTimeout  = 500 * time.Millisecond // for the body, which is read so that its sender is not reset
	maxRetryAfter = time.Hour
	userAgent     = "caddy-oidc-session"
)

// An Outcome says what follows from an answer, or from there being none.
type Outcome int

// The outcomes. Section 2.5 allows another attempt only where the failure may pass.
const (
	Final     Outcome = iota // refused, permanently: 400 and every other status, redirects too
	Retry                    // no answer, 429 or 5xx
	Delivered                // 2xx (section 2.8 asks for 200, and reads 204 as such; 201 and 202 are in use, too)
)

// Result is what became of a try.
type Result struct {
	Outcome    Outcome
	Status     int           // the answer's; 0 when there was none
	RetryAfter time.Duration // what the client asked for, an hour at the most; 0: nothing
	Err        error         // why there is no answer; has neither the token nor the URI
	Redirect   string        // the origin that the answer redirects to; empty: it does not
}

// A Sender posts logout tokens. Use [NewSender].
type Sender struct {
	transport *http.Transport
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	now       func() time.Time
}

// NewSender returns a sender that dials what the guard permits and trusts certificates of these roots; nil are the system's.
func NewSender(guard Guard, roots *x509.CertPool) *Sender {
	dialer := &net.Dialer{Timeout: TryTimeout, Control: guard.Control}
	s := &Sender{dial: dialer.DialContext, now: time.Now}
	s.transport = &http.Transport{
		// No proxy, not even the environment's: the guard would see the proxy's address only.
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    TryTimeout,
		ResponseHeaderTimeout:  TryTimeout,
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

// Send posts a logout token to a client's backchannel_logout_uri (section 2.5). It follows no redirect: the token is for this
// address.
func (s *Sender) Send(ctx context.Context, uri, logoutToken string) Result {
	ctx, cancel := context.WithTimeout(ctx, TryTimeout)
	defer cancel()
	body := url.Values{"logout_token": {logoutToken}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return Result{Outcome: Final, Err: errNoURI}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", userAgent)

	// Not by an http.Client, which would follow redirects.
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return Result{Outcome: Retry, Err: describe(ctx, err)}
	}
	defer func() { _ = resp.Body.Close() }()
	result := Result{Outcome: outcomeOf(resp.StatusCode), Status: resp.StatusCode, Redirect: redirect(resp)}
	if result.Outcome == Retry {
		result.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), s.now())
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

func outcomeOf(status int) Outcome {
	switch {
	case status >= 200 && status < 300:
		return Delivered
	case status == http.StatusTooManyRequests || status >= 500 && status < 600:
		return Retry
	default:
		return Final
	}
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds, or a date. What it cannot read is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if date, err := http.ParseTime(header); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	seconds, err := strconv.ParseUint(header, 10, 64)
	if err != nil && !isDigits(header) {
		return 0
	}
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second // too large for the type is its maximum
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
