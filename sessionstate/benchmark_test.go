package sessionstate_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func BenchmarkCompute(b *testing.B) {
	for b.Loop() {
		sessionstate.Compute("shop", "https://rp.example.com", knownBrowserState, knownHandle)
	}
}

func BenchmarkVerify(b *testing.B) {
	state := sessionstate.Compute("shop", "https://rp.example.com", knownBrowserState, knownHandle)
	for b.Loop() {
		if !sessionstate.Verify(state, "shop", "https://rp.example.com", knownBrowserState) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	// about what the session cookie holds
	ring, value := mustKeyring(b, oldSecret), make([]byte, 200)
	for b.Loop() {
		ring.Seal("cookie", issuer, value)
	}
}

func BenchmarkOpen(b *testing.B) {
	ring := mustKeyring(b, newSecret, oldSecret)
	sealed := ring.Seal("cookie", issuer, make([]byte, 200))
	for b.Loop() {
		if _, _, err := ring.Open("cookie", issuer, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealHandle(b *testing.B) {
	ring, h := mustKeyring(b, oldSecret), someHandle()
	for b.Loop() {
		ring.SealHandle(issuer, h)
	}
}

func BenchmarkOpenHandle(b *testing.B) {
	ring := mustKeyring(b, newSecret, oldSecret)
	for b.Loop() {
		if _, err := ring.OpenHandle(issuer, knownHandle); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBrowserState(b *testing.B) {
	ring := mustKeyring(b, oldSecret)
	for b.Loop() {
		ring.BrowserState(issuer, knownSession)
	}
}

func BenchmarkOrigin(b *testing.B) {
	for _, bm := range []struct{ name, uri string }{
		{"name", "https://rp.example.com/cb"},
		{"IDN", "https://bücher.example/cb"},
		{"IPv6", "http://[::1]:8080/cb"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := sessionstate.Origin(bm.uri); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
