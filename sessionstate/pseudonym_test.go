package sessionstate_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

func TestAPseudonymIsOneOfAUserAtAnIssuerUnderTheFirstKey(t *testing.T) {
	ring := mustKeyring(t, newSecret, oldSecret)
	got := ring.Pseudonym(issuer, "alice")
	if len(got) != 22 || got != mustKeyring(t, newSecret).Pseudonym(issuer, "alice") {
		t.Errorf("got %q, which servers do not agree on", got)
	}
	for name, other := range map[string]string{
		"another user":   ring.Pseudonym(issuer, "bob"),
		"another issuer": ring.Pseudonym(issuer+"/", "alice"),
		"rotated keys":   mustKeyring(t, oldSecret, newSecret).Pseudonym(issuer, "alice"),
		"shifted parts":  ring.Pseudonym(issuer+"a", "lice"),
	} {
		if other == got {
			t.Errorf("%s has the same", name)
		}
	}
}

// The README has the same computation as a script.
func TestAPseudonymIsAnHMACByAKeyThatIsExtractedFromTheShared(t *testing.T) {
	key, err := hkdf.Extract(sha256.New, []byte(newSecret), []byte("caddy-oidc-session v1"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{"pseudonym", issuer, "alice"} {
		mac.Write([]byte{0, byte(len(part))})
		mac.Write([]byte(part))
	}
	mac.Write([]byte{1})
	want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
	if got := mustKeyring(t, newSecret).Pseudonym(issuer, "alice"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
