package handlers

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// WellKnown is the path of an OP's metadata, behind its issuer (OpenID Connect Discovery 1.0,
// section 4).
const WellKnown = "/.well-known/openid-configuration"

// Metadata is what is used of the OP's own document (OpenID Connect Discovery 1.0, section 3).
type Metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint"`
	SubjectTypesSupported []string `json:"subject_types_supported"`
	RequestParameter      bool     `json:"request_parameter_supported"`
	JWKSURI               string   `json:"jwks_uri"`
	SigningAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported       []string `json:"claims_supported"`

	// RFC 9126, section 5
	PushedEndpoint string `json:"pushed_authorization_request_endpoint"`
	// its default, true, counts for nothing here
	RequestURIParameter bool `json:"request_uri_parameter_supported"`
	// RFC 9101, section 10.5
	SignedRequestObjects bool `json:"require_signed_request_object"`
	// Back-Channel Logout 1.0, section 2.1
	BackChannelLogout bool `json:"backchannel_logout_supported"`
	// Front-Channel Logout 1.0, section 3
	FrontChannelLogout bool `json:"frontchannel_logout_supported"`
	// Session Management 1.0, section 3.3
	CheckSessionIframe string `json:"check_session_iframe"`
	// RP-Initiated Logout 1.0, section 2.1
	EndSessionEndpoint string `json:"end_session_endpoint"`

	members map[string]json.RawMessage // all of them
}

// parseMetadata reads the document.
func parseMetadata(document []byte) (m Metadata, err error) {
	if json.Unmarshal(document, &m) != nil || json.Unmarshal(document, &m.members) != nil {
		return Metadata{}, errors.New("the discovery document is no JSON object as it should be")
	}
	return m, nil
}

// owners are the names of the members that name an address on the issuer's origin, by its path:
// endpoints of the OP, and pages about it.
func (m *Metadata) owners(issuerOrigin string) map[string]string {
	owners := make(map[string]string)
	for name, value := range m.members {
		var address string
		if name != "issuer" && json.Unmarshal(value, &address) == nil {
			owners[EndpointPath(address, issuerOrigin)] = name
		}
	}
	delete(owners, "") // those elsewhere
	return owners
}

// PublicSubjects reports whether equal End-Users have equal subs at all clients: the OP offers
// only public subjects (OpenID Connect Core 1.0, section 8). A sub means something at its own
// issuer only (section 2).
func (op *OP) PublicSubjects() bool {
	return slices.Equal(op.SubjectTypesSupported, []string{"public"}) && !op.HasSeveralIssuers()
}

// HasCheckSession reports whether the OP has a check page of its own.
func (m *Metadata) HasCheckSession() bool { return m.CheckSessionIframe != "" }

// HasEndSession reports whether the OP has an end_session endpoint of its own, on any origin.
func (m *Metadata) HasEndSession() bool { return m.EndSessionEndpoint != "" }

// ClaimsSID reports whether the OP says that its ID tokens have a sid.
func (m *Metadata) ClaimsSID() bool { return slices.Contains(m.ClaimsSupported, IDTokensSid) }

// TakesRequestObjects reports whether authorization requests may be in request objects.
func (m *Metadata) TakesRequestObjects() bool {
	return m.RequestParameter || m.SignedRequestObjects
}

// TakesRequestURIs reports whether authorization requests may be pushed, or be elsewhere.
func (m *Metadata) TakesRequestURIs() bool {
	return m.RequestURIParameter || m.PushedEndpoint != ""
}

// EndpointPath returns the path of an endpoint; empty: it is not on the issuer's origin, and cannot
// be observed.
func EndpointPath(endpoint, issuerOrigin string) string {
	origin, err := sessionstate.Origin(endpoint)
	if err != nil || origin != issuerOrigin {
		return ""
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	if u.Path == "" {
		return "/"
	}
	return u.Path
}
