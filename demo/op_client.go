package main

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// opClient is what the OP knows of an RP: a confidential client that uses the code flow. It
// implements op.Client.
type opClient struct {
	id     string
	secret string
	origin string // scheme, host and port of the RP; its redirect URI is origin + "/callback"
}

func (c *opClient) GetID() string                       { return c.id }
func (c *opClient) RedirectURIs() []string              { return []string{c.origin + "/callback"} }
func (c *opClient) PostLogoutRedirectURIs() []string    { return nil }
func (c *opClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *opClient) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c *opClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c *opClient) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c *opClient) LoginURL(requestID string) string     { return "/login?id=" + requestID }
func (c *opClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c *opClient) IDTokenLifetime() time.Duration       { return time.Hour }
func (c *opClient) IsScopeAllowed(string) bool           { return false }
func (c *opClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *opClient) ClockSkew() time.Duration             { return 0 }

// DevMode lets the library accept a redirect URI with plain http.
func (c *opClient) DevMode() bool { return true }

// RestrictAdditionalIdTokenScopes restricts nothing.
func (c *opClient) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// RestrictAdditionalAccessTokenScopes restricts nothing.
func (c *opClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// opRequest is an authorization request under way, from the authorization endpoint to the
// redemption of its code. It implements op.AuthRequest. A value is never changed after it was
// stored: signing in stores a changed copy.
type opRequest struct {
	id      string
	session ssoSession // the zero value until the End-User has signed in
	created time.Time
	params  *oidc.AuthRequest
}

func (r *opRequest) GetID() string                      { return r.id }
func (r *opRequest) GetACR() string                     { return "" }
func (r *opRequest) GetAMR() []string                   { return nil }
func (r *opRequest) GetAudience() []string              { return []string{r.params.ClientID} }
func (r *opRequest) GetAuthTime() time.Time             { return r.session.authTime }
func (r *opRequest) GetClientID() string                { return r.params.ClientID }
func (r *opRequest) GetNonce() string                   { return r.params.Nonce }
func (r *opRequest) GetRedirectURI() string             { return r.params.RedirectURI }
func (r *opRequest) GetResponseType() oidc.ResponseType { return r.params.ResponseType }
func (r *opRequest) GetResponseMode() oidc.ResponseMode { return r.params.ResponseMode }
func (r *opRequest) GetScopes() []string                { return r.params.Scopes }
func (r *opRequest) GetState() string                   { return r.params.State }
func (r *opRequest) GetSubject() string                 { return r.session.user }
func (r *opRequest) Done() bool                         { return r.session.user != "" }

// GetCodeChallenge returns the PKCE challenge, or nil if the RP sent none.
func (r *opRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if r.params.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.params.CodeChallenge, Method: r.params.CodeChallengeMethod}
}

var (
	_ op.Client      = (*opClient)(nil)
	_ op.AuthRequest = (*opRequest)(nil)
)
