package handlers

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestValidateIssuers(t *testing.T) {
	tests := []struct {
		name, issuer string
		valid        bool
	}{
		{"host", "https://op.example.com", true},
		{"host and slash", "https://op.example.com/", true},
		{"path", "https://op.example.com/realms/one", true},
		{"port", "https://op.example.com:8443", true},
		{"plain http", "http://op.localhost:8080", true},
		{"IPv6", "https://[::1]:8443", true},
		{"nothing", "", false},
		{"no scheme", "op.example.com", false},
		{"no host", "https:///x", false},
		{"another scheme", "ftp://op.example.com", false},
		{"query", "https://op.example.com?x", false},
		{"empty query", "https://op.example.com?", false},
		{"fragment", "https://op.example.com#x", false},
		{"empty fragment", "https://op.example.com#", false},
		{"user", "https://user@op.example.com", false},
		{"wildcard", "https://*.example.com:x", false},
		{"too long", "https://op.example.com/" + strings.Repeat("x", MaxClientID), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := ValidateIssuers(tt.issuer); (err == nil) != tt.valid || err != nil && !errors.Is(err, ErrIssuer) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSubjectsArePublicOnlyWhereNothingElseIsOffered(t *testing.T) {
	for types, want := range map[string]bool{"public": true, "pairwise": false, "public pairwise": false, "": false, "Public": false} {
		if got := (&OP{Metadata: Metadata{SubjectTypesSupported: strings.Fields(types)}}).PublicSubjects(); got != want {
			t.Errorf("%q: got %v", types, got)
		}
	}
}

func TestMetadataIsReadFromA200WithJSON(t *testing.T) {
	tests := []struct {
		name        string
		status      int
		contentType string
		body        string
		valid       bool
	}{
		{"JSON", 200, "application/json", `{"issuer":"i"}`, true},
		{"JSON with a charset", 200, "application/json; charset=utf-8", `{"issuer":"i"}`, true},
		{"JSON of a kind", 200, "application/jrd+json", `{"issuer":"i"}`, true},
		{"HTML", 200, "text/html", `{"issuer":"i"}`, false},
		{"no type", 200, "", `{"issuer":"i"}`, false},
		{"another status", 404, "application/json", `{"issuer":"i"}`, false},
		{"no status", 0, "application/json", "", false},
		{"an array", 200, "application/json", `[]`, false},
		{"another type of issuer", 200, "application/json", `{"issuer":1}`, false},
		{"half a document", 200, "application/json", `{"issuer":"i"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &OPResponse{Status: tt.status, header: http.Header{"Content-Type": {tt.contentType}}}
			a.body.WriteString(tt.body)
			var m Metadata
			document, err := a.document(exchange.IsJSON)
			if err == nil {
				m, err = parseMetadata(document)
			}
			if (err == nil) != tt.valid || tt.valid && m.Issuer != "i" {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}
