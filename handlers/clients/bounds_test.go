package clients

import (
	"slices"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

func TestClientsAtTheirBounds(t *testing.T) {
	const address = "https://rp.example.com/"
	c := Client{
		ID: strings.Repeat("~", handlers.MaxClientID), Name: strings.Repeat("x", maxClientName),
		PostLogoutRedirectURIs: slices.Repeat([]string{address + strings.Repeat("x", MaxClientURI-len(address))}, maxClientURIs),
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
