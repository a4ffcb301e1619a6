package exchange_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestMembersAreRemovedAndAllElseStays(t *testing.T) {
	for document, want := range map[string]string{
		`{"x":1}`:                           `{}`,
		`{"x":1,"a":2}`:                     `{"a":2}`,
		`{"a":2,"x":1}`:                     `{"a":2}`,
		`{"a":2,"x":1,"b":[{"x":3}]}`:       `{"a":2,"b":[{"x":3}]}`,
		`{"x":1,"x":2,"a":3}`:               `{"a":3}`,
		`{"a":0,"x":1,"b":0,"x":2}`:         `{"a":0,"b":0}`,
		"{\n  \"x\": 1,\n  \"a\": 1.0\n}\n": "{\n  \"a\": 1.0\n}\n",
		`{"\u0078":{"y":[1,2]},"a":"x"}`:    `{"a":"x"}`,
		`{"X":1}`:                           ``,
		`["x"]`:                             ``,
		`null`:                              ``,
		`{"x":1`:                            ``,
	} {
		if got, found := exchange.RemoveMember([]byte(document), "x"); string(got) != want || found != (want != "") {
			t.Errorf("%s becomes %q (%v), want %q", document, got, found, want)
		}
	}
}
