package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const aToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"

// send posts the token to the only receiver there is.
func send(t *testing.T, r *receiver) Result {
	t.Helper()
	return senderTo(t, map[string]*receiver{"a.rp.test": r}).Send(t.Context(), "https://a.rp.test/bcl?key=querysecret", aToken)
}

// An outcome is what follows from a result.
type outcome string

const delivered, retried, final outcome = "delivered", "retried", "final"

func outcomeOf(r Result) outcome {
	switch {
	case r.delivered():
		return delivered
	case r.mayPass():
		return retried
	}
	return final
}

func TestWhatFollowsFromAnAnswer(t *testing.T) {
	tests := []struct {
		status int
		want   outcome
	}{
		{200, delivered},
		{204, delivered},
		{201, delivered},
		{202, delivered},
		{206, delivered},
		{299, delivered},
		{301, final},
		{304, final},
		{400, final},
		{401, final},
		{404, final},
		{408, final},
		{410, final},
		{429, retried},
		{500, retried},
		{501, retried},
		{502, retried},
		{503, retried},
		{599, retried},
		{600, final},
		{999, final},
	}
	for _, test := range tests {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			got := send(t, newReceiver(t, answers(test.status)))
			if outcomeOf(got) != test.want || got.Status != test.status || got.Err != nil {
				t.Errorf("%d: got %+v, want %v", test.status, got, test.want)
			}
		})
	}
}

func TestTheRequestIsAFormWithTheTokenAlone(t *testing.T) {
	var form url.Values
	var seen *http.Request
	r := unstarted(func(_ http.ResponseWriter, req *http.Request) { form, seen = req.PostForm, req })
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{theCA.leaf}}
	r.server.StartTLS()
	defer r.close()
	if got := send(t, r); !got.delivered() {
		t.Fatalf("got %+v", got)
	}
	r.close() // the handler is done
	if seen.Method != "POST" || seen.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("got %s with %s", seen.Method, seen.Header.Get("Content-Type"))
	}
	if seen.RequestURI != "/bcl?key=querysecret" {
		t.Errorf("the URI's query is kept; got %s", seen.RequestURI)
	}
	if len(form) != 1 || len(form["logout_token"]) != 1 || form.Get("logout_token") != aToken {
		t.Errorf("got form %v", form)
	}
	for _, name := range []string{"Cookie", "Authorization", "Referer", "Accept-Encoding"} {
		if seen.Header.Get(name) != "" {
			t.Errorf("the request has %s", name)
		}
	}
}

func TestThreat6ARedirectIsAFailureAndItsTargetGetsNothing(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			other := newReceiver(t, answers(200))
			r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://b.rp.test/elsewhere")
				w.WriteHeader(status)
			})
			sender := senderTo(t, map[string]*receiver{"a.rp.test": r, "b.rp.test": other})
			got := sender.Send(t.Context(), "https://a.rp.test/bcl", aToken)
			if (got.delivered() || got.mayPass()) || got.Status != status {
				t.Errorf("got %+v", got)
			}
			if n := len(other.tokens()); n != 0 {
				t.Errorf("the target of the redirect was asked %d times", n)
			}
			if n := len(r.tokens()); n != 1 {
				t.Errorf("the receiver was asked %d times", n)
			}
		})
	}
}

func TestRetryAfterIsSecondsOrADateAndAnHourAtTheMost(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"7":                              7 * time.Second,
		"3600":                           time.Hour,
		"3601":                           time.Hour,
		"99999999999999999999999999":     time.Hour,
		"-1":                             0,
		"+5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"Mon, 04 May 2026 12:00:30 GMT":  30 * time.Second,
		"Mon, 04 May 2026 11:00:00 GMT":  0,
		"Tue, 05 May 2026 12:00:00 GMT":  time.Hour,
		"Monday, 04-May-26 12:01:00 GMT": time.Minute,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

func TestRetryAfterIsReadWhereAnotherTryFollows(t *testing.T) {
	for status, want := range map[int]time.Duration{429: 9 * time.Second, 503: 9 * time.Second, 400: 0, 200: 0} {
		got := send(t, newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(status)
		}))
		if got.RetryAfter != want {
			t.Errorf("%d: got %v, want %v", status, got.RetryAfter, want)
		}
	}
}

func TestThreat7CertificatesAreVerified(t *testing.T) {
	selfSigned := newCA()
	tests := []struct {
		name string
		leaf tls.Certificate
	}{
		{"of an authority that is not trusted", selfSigned.leaf},
		{"for another name", theCA.issue("b.example")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := unstarted(answers(200))
			r.server.TLS = &tls.Config{Certificates: []tls.Certificate{test.leaf}}
			r.server.StartTLS()
			defer r.close()
			got := send(t, r)
			if !got.mayPass() || got.Status != 0 || got.Err == nil || !strings.Contains(got.Err.Error(), "certificate not valid") {
				t.Errorf("got %+v", got)
			}
			if len(r.tokens()) != 0 {
				t.Error("the token went to a receiver that nobody vouches for")
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	r := unstarted(answers(200))
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{theCA.leaf}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	r.server.StartTLS()
	defer r.close()
	if got := send(t, r); !got.mayPass() || got.Err == nil || len(r.tokens()) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAHostThatHangsHasFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := senderTo(t, map[string]*receiver{"a.rp.test": newPiped(t, hangs)})
		begun := time.Now()
		got := s.Send(t.Context(), "http://a.rp.test/bcl", aToken)
		if took := time.Since(begun); took != tryTimeout {
			t.Errorf("took %v", took)
		}
		if !got.mayPass() || got.Status != 0 || !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTheBodyOfAnAnswerChangesNothing(t *testing.T) {
	tests := []struct {
		name string
		body func(w http.ResponseWriter, r *http.Request)
	}{
		{"a huge one", func(w http.ResponseWriter, _ *http.Request) {
			piece := make([]byte, 64<<10)
			for range 16 << 10 { // 1 GiB
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}},
		{"one that hangs", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			hangs(w, r)
		}},
		{"one that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "a")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begun := time.Now()
			got := send(t, newReceiver(t, test.body))
			if !got.delivered() || got.Status != 200 || got.Err != nil {
				t.Errorf("got %+v", got)
			}
			if took := time.Since(begun); took > tryTimeout-drainTimeout {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestAConnectionThatIsHandedOverIsNoAnswer(t *testing.T) {
	begun := time.Now()
	got := send(t, newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = buffer.Flush()
	}))
	if (got.delivered() || got.mayPass()) || got.Status != http.StatusSwitchingProtocols {
		t.Errorf("got %+v", got)
	}
	if took := time.Since(begun); took > tryTimeout {
		t.Errorf("took %v", took)
	}
}

func TestAHugeHeaderIsNoAnswer(t *testing.T) {
	got := send(t, newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Much", strings.Repeat("a", 1<<20))
	}))
	if !got.mayPass() || got.Status != 0 {
		t.Errorf("got %+v", got)
	}
}

// echo is a server that sends back what it gets, so that the request is in the errors of net/http.
func echo(t *testing.T) net.Addr {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				buffer := make([]byte, 4096)
				n, _ := conn.Read(buffer)
				_, _ = conn.Write(buffer[:n])
			}()
		}
	}()
	return listener.Addr()
}

func TestErrorsHaveNeitherTheTokenNorTheURI(t *testing.T) {
	const gone = "127.0.0.1:1" // nobody is given this port, unlike one that was closed
	toAddress := func(address string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	tests := []struct {
		name, uri string
		dial      func(context.Context, string, string) (net.Conn, error)
		outcome   outcome
		says      string
	}{
		{"refused", "https://a.rp.test/bcl?key=querysecret", toAddress(gone), retried, "connection failed: connection refused"},
		{"an echo", "http://a.rp.test/bcl?key=querysecret", toAddress(echo(t).String()), retried, errBroken.Error()},
		{"TLS with an echo", "https://a.rp.test/bcl?key=querysecret", toAddress(echo(t).String()), retried, ""},
		{"no such host", "https://a.rp.test/bcl?key=querysecret", senderTo(t, nil).dial, retried, "host not found: no such host"},
		{"no scheme", "a.rp.test/bcl?key=querysecret", nil, final, errNoURI.Error()},
		{"another scheme", "ftp://a.rp.test/bcl?key=querysecret", nil, final, errNoURI.Error()},
		{"a file", "file:///etc/passwd?key=querysecret", nil, final, errNoURI.Error()},
		{"no host", "https:///bcl?key=querysecret", nil, final, errNoURI.Error()},
		{"no URI", "https://%zz/bcl?key=querysecret", nil, final, errNoURI.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewSender(Guard{}, theCA.pool)
			s.dial = test.dial
			got := s.Send(t.Context(), test.uri, aToken)
			if outcomeOf(got) != test.outcome || got.Err == nil {
				t.Fatalf("got %+v", got)
			}
			if !strings.Contains(got.Err.Error(), test.says) {
				t.Errorf("got %q, want %q", got.Err, test.says)
			}
			for err := got.Err; err != nil; err = errors.Unwrap(err) {
				if s := err.Error(); strings.Contains(s, "querysecret") || strings.Contains(s, "eyJ") || strings.Contains(s, "/bcl") {
					t.Errorf("it tells too much: %s", s)
				}
			}
		})
	}
}

func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	// net/http reads these once for the whole process, so what matters is that nothing asks it to.
	s := NewSender(Guard{}, theCA.pool)
	if s.transport.Proxy != nil {
		t.Error("the transport has a proxy")
	}
	if got := send(t, newReceiver(t, answers(200))); !got.delivered() {
		t.Errorf("got %+v", got)
	}
}
