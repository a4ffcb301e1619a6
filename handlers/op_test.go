package handlers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
		{"too long", "https://op.example.com/" + strings.Repeat("x", maxClientID), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := ValidateIssuers(tt.issuer); (err == nil) != tt.valid || err != nil && !errors.Is(err, ErrIssuer) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDiscoveryPathStandsBehindTheIssuer(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://op.example.com":             wellKnown,
		"https://op.example.com/":            wellKnown,
		"https://op.example.com/realms/one":  "/realms/one" + wellKnown,
		"https://op.example.com/realms/one/": "/realms/one" + wellKnown,
		"https://op.example.com/My%20Realm":  "/My Realm" + wellKnown,
	} {
		if op := knownOP(t, issuer, metadata{}); op.DiscoveryPath != want || op.discoveryURL() != op.Origin+want {
			t.Errorf("%s has its document at %q (%q)", issuer, op.DiscoveryPath, op.discoveryURL())
		}
	}
}

func TestAnOPServesItsOwnHost(t *testing.T) {
	tests := []struct {
		issuer, host string
		want         bool
	}{
		{"https://op.example.com", "op.example.com", true},
		{"https://op.example.com", "OP.example.COM", true},
		{"https://op.example.com", "op.example.com:443", true},
		{"https://op.example.com", "op.example.com:80", false},
		{"https://op.example.com", "op.example.com:8443", false},
		{"https://op.example.com", "op.example.com.evil.example", false},
		{"https://op.example.com", "evil.example", false},
		{"https://op.example.com", "", false},
		{"https://op.example.com:443", "op.example.com", true},
		{"https://op.example.com:8443", "op.example.com:8443", true},
		{"https://op.example.com:8443", "op.example.com", false},
		{"http://op.example.com", "op.example.com:80", true},
		{"http://op.example.com", "op.example.com:443", false},
		{"https://[::1]", "[::1]", true},
		{"https://[::1]", "[::1]:443", true},
	}
	for _, tt := range tests {
		t.Run(tt.issuer+" at "+tt.host, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			if got := knownOP(t, tt.issuer, metadata{}).serves(r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestEndpointsElsewhereAreNotObserved(t *testing.T) {
	tests := []struct {
		name, endpoint, want string
	}{
		{"on the origin", "https://op.example.com/a/b", "/a/b"},
		{"with its default port", "https://op.example.com:443/a", "/a"},
		{"in other letters", "https://OP.example.com/a", "/a"},
		{"with a query", "https://op.example.com/a?policy=x", "/a"},
		{"with an escape", "https://op.example.com/My%20Realm/a", "/My Realm/a"},
		{"at the root", "https://op.example.com", "/"},
		{"another host", "https://login.example.com/a", ""},
		{"another port", "https://op.example.com:8443/a", ""},
		{"another scheme", "http://op.example.com/a", ""},
		{"relative", "/a", ""},
		{"missing", "", ""},
		{"garbage", "https://op.example.com\x00/a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := endpointPath(tt.endpoint, issuer); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	op, err := newOP(issuer)
	if err != nil {
		t.Fatal(err)
	}
	learnt, elsewhere := op.with(metadata{AuthorizationEndpoint: "https://login.example.com/a", TokenEndpoint: "https://login.example.com/t"})
	if learnt.AuthorizationPath != "" || learnt.TokenPath != "" || strings.Join(elsewhere, " ") != "authorization_endpoint token_endpoint" {
		t.Errorf("learnt %+v, elsewhere are %v", learnt, elsewhere)
	}
}

func TestSubjectsArePublicOnlyWhereNothingElseIsOffered(t *testing.T) {
	for types, want := range map[string]bool{"public": true, "pairwise": false, "public pairwise": false, "": false, "Public": false} {
		if got := (metadata{SubjectTypesSupported: strings.Fields(types)}).publicSubjects(); got != want {
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
			a := &answer{status: tt.status, header: http.Header{"Content-Type": {tt.contentType}}}
			a.body.WriteString(tt.body)
			var m metadata
			document, err := a.document(isJSON)
			if err == nil {
				m, err = parseMetadata(document)
			}
			if (err == nil) != tt.valid || tt.valid && m.Issuer != "i" {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}
