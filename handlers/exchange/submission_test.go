package exchange_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestUnescapeUndoesWhatItCan(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "%": "%", "%4": "%4", "%41": "A", "50%&a=%41+b": "50%&a=A b", "%zz%41": "%zzA", "%%41": "%A", "%2541": "%41",
	} {
		if got := exchange.Unescape(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
