package sessionstate_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Seals under oldSecret for the purpose "cookie" and the issuer, with the nonce a0 a1 ... b7,
// computed in Python by libsodium (PyNaCl), and by hashlib and hmac:
//
//	mac = lambda key, text: hmac.new(key, text, hashlib.sha256).digest()
//	label = b"".join(len(p).to_bytes(2, "big") + p for p in (b"seal", b"cookie", issuer))
//	key = mac(mac(b"caddy-oidc-session v1", secret), label + b"\1")
//	raw = b"\2" + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(value, None, nonce, key)
//	print(base64.urlsafe_b64encode(raw).decode().rstrip("="))
//
// A change that no longer opens them signs every End-User out: it needs another format byte.
const (
	knownSeal      = "AqChoqOkpaanqKmqq6ytrq-wsbKztLW2twGVporzUWchkFae_3P0YeR5Ut5oVUVzYOuJoqOKng" // "a sealed value"
	knownEmptySeal = "AqChoqOkpaanqKmqq6ytrq-wsbKztLW2t9PRHvUeLNiU_CVCTC83DAc"
)

func TestOpenOpensKnownSeals(t *testing.T) {
	for sealed, want := range map[string]string{knownSeal: "a sealed value", knownEmptySeal: ""} {
		value, current, err := mustKeyring(t, oldSecret).Open("cookie", issuer, sealed)
		if err != nil || !current || string(value) != want {
			t.Errorf("got %q, %v, %v; want %q", value, current, err, want)
		}
	}
}

func TestOpenReturnsWhatSealTook(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	whole := bytes.Repeat([]byte{0, 1, '"', 0xff, ' '}, 400)
	for n := 0; n <= len(whole); n++ {
		sealed := ring.Seal("cookie", issuer, whole[:n])
		if want := base64.RawURLEncoding.EncodedLen(n + 41); len(sealed) != want {
			t.Fatalf("%d bytes: sealed to %d characters, want %d", n, len(sealed), want)
		}
		value, current, err := ring.Open("cookie", issuer, sealed)
		if err != nil || !current || !bytes.Equal(value, whole[:n]) {
			t.Fatalf("%d bytes: got %d bytes, %v, %v", n, len(value), current, err)
		}
	}
}

func TestTwoSealsOfOneValueDiffer(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	seen := make(map[string]bool)
	for range 100 {
		sealed := ring.Seal("cookie", issuer, []byte("value"))
		text := sealed[base64.RawURLEncoding.EncodedLen(25):] // behind format and nonce
		if seen[text] {
			t.Fatal("two ciphertexts are the same")
		}
		seen[text] = true
	}
}

func TestASealDoesNotShowTheValue(t *testing.T) {
	value := []byte("the value that is sealed")
	raw, err := base64.RawURLEncoding.DecodeString(mustKeyring(t, oldSecret).Seal("cookie", issuer, value))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(value) - 5 {
		if bytes.Contains(raw, value[i:i+5]) {
			t.Fatalf("%q is readable in the seal", value[i:i+5])
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	tests := []struct {
		name                    string
		ring                    *sessionstate.Keyring
		purpose, issuer, sealed string
	}{
		{"another purpose", ring, "handle", issuer, knownSeal},
		{"no purpose", ring, "", issuer, knownSeal},
		{"another issuer", ring, "cookie", "https://op.example.org", knownSeal},
		{"the issuer with a slash", ring, "cookie", issuer + "/", knownSeal},
		{"the border of purpose and issuer moved", ring, "cookie\x00https", "://op.example.com", knownSeal},
		{"another key", mustKeyring(t, newSecret), "cookie", issuer, knownSeal},
		{"nothing", ring, "cookie", issuer, ""},
		{"padding", ring, "cookie", issuer, ring.Seal("cookie", issuer, []byte("ab")) + "="},
		{"a line end behind", ring, "cookie", issuer, knownSeal + "\n"},
		{"a line end within", ring, "cookie", issuer, knownSeal[:8] + "\r\n" + knownSeal[8:]},
		{"a space in front", ring, "cookie", issuer, " " + knownSeal},
		{"a character that is not base64url", ring, "cookie", issuer, "+" + knownSeal[1:]},
		{"a value over the bound", ring, "cookie", issuer, ring.Seal("cookie", issuer, make([]byte, sessionstate.MaxSealed/4*3-41+1))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refuses(t, tt.ring, tt.purpose, tt.issuer, tt.sealed) })
	}
}

func refuses(t *testing.T, ring *sessionstate.Keyring, purpose, issuer, sealed string) {
	t.Helper()
	value, current, err := ring.Open(purpose, issuer, sealed)
	if !errors.Is(err, sessionstate.ErrSeal) || value != nil || current {
		t.Errorf("got %q, %v, %v", value, current, err)
	}
}

func TestOpenTakesTheLongestValueWithinTheBound(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	sealed := ring.Seal("cookie", issuer, make([]byte, sessionstate.MaxSealed/4*3-41))
	if len(sealed) != sessionstate.MaxSealed {
		t.Fatalf("the sealed value has %d characters", len(sealed))
	}
	if _, _, err := ring.Open("cookie", issuer, sealed); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesASealWithAnyBitFlipped(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	raw := rawSeal(t)
	for i := range raw {
		for bit := range 8 {
			flipped := bytes.Clone(raw)
			flipped[i] ^= 1 << bit
			refuses(t, ring, "cookie", issuer, base64.RawURLEncoding.EncodeToString(flipped))
		}
	}
}

func TestOpenRefusesATruncatedOrExtendedSeal(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	raw := rawSeal(t)
	for n := range raw {
		refuses(t, ring, "cookie", issuer, base64.RawURLEncoding.EncodeToString(raw[:n]))
		refuses(t, ring, "cookie", issuer, base64.RawURLEncoding.EncodeToString(raw[n+1:]))
	}
	for n := range 32 {
		refuses(t, ring, "cookie", issuer, base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw), make([]byte, n+1)...)))
	}
}

// The last character of base64url may have unused bits. They must be zero, so that each value has
// one encoding only.
func TestOpenRefusesBase64ThatIsNotCanonical(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	ring := mustKeyring(t, oldSecret)
	sealed := ring.Seal("cookie", issuer, []byte("abc")) // 44 bytes: the last character has two idle bits
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw)%3 == 0 {
		t.Fatalf("%d bytes leave no bits over: %v", len(raw), err)
	}
	last := strings.IndexByte(alphabet, sealed[len(sealed)-1])
	other := sealed[:len(sealed)-1] + string(alphabet[last|1])
	same, err := base64.RawURLEncoding.DecodeString(other) // the lenient decoder
	if err != nil || other == sealed || !bytes.Equal(same, raw) {
		t.Fatalf("%q is no second text of %q", other, sealed)
	}
	refuses(t, ring, "cookie", issuer, other)
}

func rawSeal(t *testing.T) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(knownSeal)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The steps are those of Keyring's doc comment. During each, servers before and after it run
// together.
func TestAKeyIsRotatedWithoutAServerThatCannotOpen(t *testing.T) {
	steps := [][]string{{oldSecret}, {oldSecret, newSecret}, {newSecret, oldSecret}, {newSecret}}
	for i := range len(steps) - 1 {
		for _, from := range steps[i : i+2] {
			for _, to := range steps[i : i+2] {
				t.Run(fmt.Sprintf("step %d, from a server with %d keys to one with %d", i+1, len(from), len(to)), func(t *testing.T) {
					sealed := mustKeyring(t, from...).Seal("cookie", issuer, []byte("value"))
					value, current, err := mustKeyring(t, to...).Open("cookie", issuer, sealed)
					if err != nil || string(value) != "value" || current != (from[0] == to[0]) {
						t.Errorf("got %q, %v, %v", value, current, err)
					}
				})
			}
		}
	}
	t.Run("afterwards the old key opens nothing", func(t *testing.T) {
		refuses(t, mustKeyring(t, newSecret), "cookie", issuer, mustKeyring(t, oldSecret).Seal("cookie", issuer, nil))
	})
}

func TestAKeyringIsSafeForConcurrentUse(t *testing.T) {
	ring := mustKeyring(t, newSecret, oldSecret)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 100 {
				iss := fmt.Sprint("https://", (i+j)%10, ".example")
				value, _, err := ring.Open("cookie", iss, ring.Seal("cookie", iss, []byte(iss)))
				if err != nil || string(value) != iss {
					t.Errorf("%s: got %q, %v", iss, value, err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzOpen(f *testing.F) {
	ring := mustKeyring(f, oldSecret, newSecret)
	f.Add(knownSeal)
	f.Add(knownSeal + "\n")
	f.Add(knownSeal[:50])
	f.Add(strings.Repeat("A", 50))
	f.Add(knownEmptySeal)
	f.Add("=")
	f.Add("")
	f.Fuzz(func(t *testing.T, sealed string) {
		value, current, err := ring.Open("cookie", issuer, sealed)
		switch {
		case err != nil:
			if !errors.Is(err, sessionstate.ErrSeal) || value != nil || current {
				t.Fatalf("%q gave %q, %v, %v", sealed, value, current, err)
			}
		case sealed == knownEmptySeal && len(value) == 0 && current:
		case sealed != knownSeal || string(value) != "a sealed value" || !current:
			t.Fatalf("%q was forged: %q, %v", sealed, value, current)
		}
		again := ring.Seal("cookie", issuer, []byte(sealed))
		value, _, err = ring.Open("cookie", issuer, again)
		if fits := len(again) <= sessionstate.MaxSealed; fits != (err == nil) || fits && string(value) != sealed {
			t.Fatalf("%q sealed and opened is %q, %v", sealed, value, err)
		}
	})
}
