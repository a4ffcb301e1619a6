package sessionstate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	issuer    = "https://op.example.com"
	oldSecret = "0123456789abcdef0123456789abcdef"
	newSecret = "fedcba9876543210fedcba9876543210"
)

func mustKeyring(tb testing.TB, secrets ...string) *sessionstate.Keyring {
	tb.Helper()
	ring, err := sessionstate.NewKeyring(asBytes(secrets)...)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func asBytes(secrets []string) [][]byte {
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, []byte(secret))
	}
	return all
}

func TestNewKeyring(t *testing.T) {
	tests := []struct {
		name    string
		secrets []string
		want    error
		place   string
	}{
		{"one key of exactly 32 bytes is enough", []string{oldSecret}, nil, ""},
		{"a long key is taken", []string{strings.Repeat("long", 300)}, nil, ""},
		{"white space around a key belongs to it", []string{oldSecret, oldSecret + "\n"}, nil, ""},
		{"a key of any bytes is taken", []string{strings.Repeat("\x00\xff", 16)}, nil, ""},
		{"two keys are taken", []string{newSecret, oldSecret}, nil, ""},
		{"no key is refused", nil, sessionstate.ErrNoKey, ""},
		{"an empty key is refused", []string{""}, sessionstate.ErrEmptyKey, "key 1"},
		{"an empty second key is refused", []string{oldSecret, ""}, sessionstate.ErrEmptyKey, "key 2"},
		{"white space is no key, however long", []string{strings.Repeat(" \t\r\n", 16)}, sessionstate.ErrEmptyKey, "key 1"},
		{"31 bytes are too short", []string{oldSecret[1:]}, sessionstate.ErrShortKey, "key 1 has 31 bytes"},
		{"a short second key is refused", []string{oldSecret, "hunter2"}, sessionstate.ErrShortKey, "key 2 has 7 bytes"},
		{"the same key twice is refused", []string{oldSecret, newSecret, oldSecret}, sessionstate.ErrDuplicateKey, "key 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ring, err := sessionstate.NewKeyring(asBytes(tt.secrets)...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if (ring == nil) != (err != nil) {
				t.Fatalf("got keyring %v with error %v", ring != nil, err)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), tt.place) {
				t.Errorf("%q does not say %q", err, tt.place)
			}
			for _, secret := range tt.secrets {
				if strings.TrimSpace(secret) != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("%q repeats a key", err)
				}
			}
		})
	}
}

func TestAKeyringKeepsItsKeysWhenTheCallersBytesChange(t *testing.T) {
	secret := []byte(oldSecret)
	ring, err := sessionstate.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	if got, want := ring.AnonymousState(issuer), mustKeyring(t, oldSecret).AnonymousState(issuer); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
