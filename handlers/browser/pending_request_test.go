package browser_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

func TestWhatCanBeNotedAsPending(t *testing.T) {
	tests := []struct {
		name, clientID, redirectURI, state string
		want                               bool
	}{
		{"a web app", handlerstest.ClientID, handlerstest.Callback, "s", true},
		{"without state", handlerstest.ClientID, handlerstest.Callback, "", true},
		{"a custom scheme", handlerstest.ClientID, "com.example.app:/cb", "s", true},
		{"loopback", handlerstest.ClientID, "http://127.0.0.1:3000/cb", "s", true},
		{"the longest", strings.Repeat("c", handlers.MaxClientID), handlerstest.Callback, strings.Repeat("s", handlers.MaxState), true},
		{"no client", "", handlerstest.Callback, "s", false},
		{"no redirect URI", handlerstest.ClientID, "", "s", false},
		{"a relative redirect URI", handlerstest.ClientID, "/cb", "s", false},
		{"a broken redirect URI", handlerstest.ClientID, "https://rp.example.com/%zz", "s", false},
		{"too long a client", strings.Repeat("c", handlers.MaxClientID+1), handlerstest.Callback, "s", false},
		{"too long a redirect URI", handlerstest.ClientID, handlerstest.Callback + strings.Repeat("x", handlers.MaxLocation), "s", false},
		{"too long a state", handlerstest.ClientID, handlerstest.Callback, strings.Repeat("s", handlers.MaxState+1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, ok := browser.NewPendingRequest(tt.clientID, tt.redirectURI, tt.state, handlerstest.Noon); ok != tt.want {
				t.Errorf("got %v", ok)
			}
		})
	}
}

func TestAPendingRequestIsAnswered(t *testing.T) {
	tests := []struct {
		name, redirectURI, target, state string
		want                             bool
	}{
		{"at its redirect URI", handlerstest.Callback, handlerstest.Callback, "s", true},
		{"with the host in other letters", handlerstest.Callback, "https://RP.example.COM/cb", "s", true},
		{"with the default port", handlerstest.Callback, "https://rp.example.com:443/cb", "s", true},
		{"at the root, with a slash", "https://rp.example.com", "https://rp.example.com/", "s", true},
		{"with a query of its own", handlerstest.Callback + "?tenant=1", handlerstest.Callback, "s", true},
		{"at a custom scheme", "com.example.app:/cb", "com.example.app:/cb", "s", true},
		{"at another custom scheme", "com.example.app:/cb", "com.evil.app:/cb", "s", false},
		{"with another state", handlerstest.Callback, handlerstest.Callback, "S", false},
		{"without state", handlerstest.Callback, handlerstest.Callback, "", false},
		{"at another path", handlerstest.Callback, "https://rp.example.com/cb2", "s", false},
		{"at a path in other letters", handlerstest.Callback, "https://rp.example.com/CB", "s", false},
		{"at a path with a slash more", handlerstest.Callback, handlerstest.Callback + "/", "s", false},
		{"at another host", handlerstest.Callback, "https://evil.example/cb", "s", false},
		{"at another port", handlerstest.Callback, "https://rp.example.com:8443/cb", "s", false},
		{"at another scheme", handlerstest.Callback, "http://rp.example.com/cb", "s", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target, err := url.Parse(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := handlerstest.Pend(t, handlerstest.ClientID, tt.redirectURI, "s").AnsweredBy(target, tt.state); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAPendingRequestIsTheSameByWhatItAsks(t *testing.T) {
	one := handlerstest.Pend(t, handlerstest.ClientID, handlerstest.Callback, "s")
	same := one
	same.Issued = handlerstest.Noon.Add(time.Minute)
	if !one.IsSame(same) {
		t.Error("the same request a minute later is another one")
	}
	for name, other := range map[string]browser.PendingRequest{
		"state":        handlerstest.Pend(t, handlerstest.ClientID, handlerstest.Callback, "t"),
		"redirect URI": handlerstest.Pend(t, handlerstest.ClientID, handlerstest.Callback+"2", "s"),
		"client":       handlerstest.Pend(t, handlerstest.ClientID+"2", handlerstest.Callback, "s"),
	} {
		if other.IsSame(one) {
			t.Errorf("a request with another %s is the same", name)
		}
	}
}

func TestAPendingRequestOpensForAnHour(t *testing.T) {
	keys := handlerstest.Keyring(t, handlerstest.FirstSecret)
	p := handlerstest.Pend(t, strings.Repeat("c", browser.MaxSealedID), handlerstest.Callback, "s")
	sealed := p.Seal(keys, handlerstest.Issuer)
	halfHash := make([]byte, browser.PendingHead+8)
	halfHash[32] = byte(browser.HashedClient)
	tests := []struct {
		name   string
		issuer string
		sealed string
		now    time.Time
		want   bool
	}{
		{"at once", handlerstest.Issuer, sealed, handlerstest.Noon, true},
		{"within the hour", handlerstest.Issuer, sealed, handlerstest.Noon.Add(browser.PendingLifetime - time.Second), true},
		{"after the hour", handlerstest.Issuer, sealed, handlerstest.Noon.Add(browser.PendingLifetime), false},
		{"at another issuer", handlerstest.Issuer + "/realm", sealed, handlerstest.Noon, false},
		{"without a client", handlerstest.Issuer, keys.Seal(browser.PendingPurpose, handlerstest.Issuer, make([]byte, browser.PendingHead)), handlerstest.Noon, false},
		{"with half a hash", handlerstest.Issuer, keys.Seal(browser.PendingPurpose, handlerstest.Issuer, halfHash), handlerstest.Noon, false},
		{"sealed for another purpose", handlerstest.Issuer, keys.Seal(browser.SessionPurpose, handlerstest.Issuer, make([]byte, browser.PendingHead+1)), handlerstest.Noon, false},
		{"cut off", handlerstest.Issuer, sealed[:len(sealed)-1], handlerstest.Noon, false},
		{"empty", handlerstest.Issuer, "", handlerstest.Noon, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := browser.OpenPendingRequest(keys, tt.issuer, tt.sealed, tt.now)
			if ok != tt.want || ok && (got.ClientID != p.ClientID || got.Client != p.Client || !got.IsSame(p) || !got.Issued.Equal(p.Issued)) {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}

func FuzzOpenPendingRequest(f *testing.F) {
	keys := handlerstest.Keyring(f, handlerstest.FirstSecret)
	f.Add(handlerstest.Issuer, handlerstest.Pend(f, handlerstest.ClientID, handlerstest.Callback, "s").Seal(keys, handlerstest.Issuer), int64(0))
	f.Add(handlerstest.Issuer, "AAAA", int64(1))
	f.Add("", "", int64(-1))
	f.Fuzz(func(t *testing.T, iss, sealed string, seconds int64) {
		p, ok := browser.OpenPendingRequest(keys, iss, sealed, handlerstest.Noon.Add(time.Duration(seconds)))
		if ok && p.ClientID == "" && !p.Is(browser.HashedClient) {
			t.Fatal("a request of no client opened")
		}
		if again, _ := browser.OpenPendingRequest(keys, iss, p.Seal(keys, iss), handlerstest.Noon); ok && !again.IsSame(p) {
			t.Fatalf("%+v is %+v after it was sealed again", p, again)
		}
	})
}
