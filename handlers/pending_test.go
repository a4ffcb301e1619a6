package handlers

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func pend(t testing.TB, clientID, redirectURI, state string) pendingRequest {
	t.Helper()
	p, ok := newPendingRequest(clientID, redirectURI, state, noon)
	if !ok {
		t.Fatalf("%q cannot be noted", redirectURI)
	}
	return p
}

func TestWhatCanBeNotedAsPending(t *testing.T) {
	tests := []struct {
		name, clientID, redirectURI, state string
		want                               bool
	}{
		{"a web app", clientID, callback, "s", true},
		{"without state", clientID, callback, "", true},
		{"a custom scheme", clientID, "com.example.app:/cb", "s", true},
		{"loopback", clientID, "http://127.0.0.1:3000/cb", "s", true},
		{"the longest", strings.Repeat("c", maxClientID), callback, strings.Repeat("s", maxState), true},
		{"no client", "", callback, "s", false},
		{"no redirect URI", clientID, "", "s", false},
		{"a relative redirect URI", clientID, "/cb", "s", false},
		{"a broken redirect URI", clientID, "https://rp.example.com/%zz", "s", false},
		{"too long a client", strings.Repeat("c", maxClientID+1), callback, "s", false},
		{"too long a redirect URI", clientID, callback + strings.Repeat("x", maxLocation), "s", false},
		{"too long a state", clientID, callback, strings.Repeat("s", maxState+1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, ok := newPendingRequest(tt.clientID, tt.redirectURI, tt.state, noon); ok != tt.want {
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
		{"at its redirect URI", callback, callback, "s", true},
		{"with the host in other letters", callback, "https://RP.example.COM/cb", "s", true},
		{"with the default port", callback, "https://rp.example.com:443/cb", "s", true},
		{"at the root, with a slash", "https://rp.example.com", "https://rp.example.com/", "s", true},
		{"with a query of its own", callback + "?tenant=1", callback, "s", true},
		{"at a custom scheme", "com.example.app:/cb", "com.example.app:/cb", "s", true},
		{"at another custom scheme", "com.example.app:/cb", "com.evil.app:/cb", "s", false},
		{"with another state", callback, callback, "S", false},
		{"without state", callback, callback, "", false},
		{"at another path", callback, "https://rp.example.com/cb2", "s", false},
		{"at a path in other letters", callback, "https://rp.example.com/CB", "s", false},
		{"at a path with a slash more", callback, callback + "/", "s", false},
		{"at another host", callback, "https://evil.example/cb", "s", false},
		{"at another port", callback, "https://rp.example.com:8443/cb", "s", false},
		{"at another scheme", callback, "http://rp.example.com/cb", "s", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target, err := url.Parse(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := pend(t, clientID, tt.redirectURI, "s").answeredBy(target, tt.state); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAPendingRequestIsTheSameByWhatItAsks(t *testing.T) {
	one := pend(t, clientID, callback, "s")
	same := one
	same.issued = noon.Add(time.Minute)
	if !one.isSame(same) {
		t.Error("the same request a minute later is another one")
	}
	for name, other := range map[string]pendingRequest{
		"state":        pend(t, clientID, callback, "t"),
		"redirect URI": pend(t, clientID, callback+"2", "s"),
		"client":       pend(t, clientID+"2", callback, "s"),
	} {
		if other.isSame(one) {
			t.Errorf("a request with another %s is the same", name)
		}
	}
}

func TestAPendingRequestOpensForAnHour(t *testing.T) {
	keys := keyring(t, firstSecret)
	p := pend(t, strings.Repeat("c", maxSealedID), callback, "s")
	sealed := p.seal(keys, issuer)
	halfHash := make([]byte, pendingHead+8)
	halfHash[32] = byte(hashed)
	tests := []struct {
		name   string
		issuer string
		sealed string
		now    time.Time
		want   bool
	}{
		{"at once", issuer, sealed, noon, true},
		{"within the hour", issuer, sealed, noon.Add(pendingLifetime - time.Second), true},
		{"after the hour", issuer, sealed, noon.Add(pendingLifetime), false},
		{"at another issuer", issuer + "/realm", sealed, noon, false},
		{"without a client", issuer, keys.Seal(pendingPurpose, issuer, make([]byte, pendingHead)), noon, false},
		{"with half a hash", issuer, keys.Seal(pendingPurpose, issuer, halfHash), noon, false},
		{"sealed for another purpose", issuer, keys.Seal(sessionPurpose, issuer, make([]byte, pendingHead+1)), noon, false},
		{"cut off", issuer, sealed[:len(sealed)-1], noon, false},
		{"empty", issuer, "", noon, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := openPendingRequest(keys, tt.issuer, tt.sealed, tt.now)
			if ok != tt.want || ok && (got.clientID != p.clientID || got.client != p.client || !got.isSame(p) || !got.issued.Equal(p.issued)) {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}

func FuzzOpenPendingRequest(f *testing.F) {
	keys := keyring(f, firstSecret)
	f.Add(issuer, pend(f, clientID, callback, "s").seal(keys, issuer), int64(0))
	f.Add(issuer, "AAAA", int64(1))
	f.Add("", "", int64(-1))
	f.Fuzz(func(t *testing.T, iss, sealed string, seconds int64) {
		p, ok := openPendingRequest(keys, iss, sealed, noon.Add(time.Duration(seconds)))
		if ok && p.clientID == "" && !p.is(hashed) {
			t.Fatal("a request of no client opened")
		}
		if again, _ := openPendingRequest(keys, iss, p.seal(keys, iss), noon); ok && !again.isSame(p) {
			t.Fatalf("%+v is %+v after it was sealed again", p, again)
		}
	})
}
