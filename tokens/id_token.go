// Package tokens reads the JSON Web Tokens of OpenID Connect.
package tokens

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An IDToken is what is used of an ID token's claims (OpenID Connect Core 1.0, section 2).
type IDToken struct {
	Issuer   string
	Subject  string   // never empty
	Audience []string // client IDs
	// SessionID is the sid claim (Front-Channel Logout 1.0, section 3): the OP's own name of its session; empty where the OP
	// does not give one.
	SessionID string
	// KeyID is the kid of the header, which an OP may leave out while it has one key (section 10.1); empty: it names no key.
	KeyID string
	// Symmetric: it is signed by a secret of the client's, so that none of the OP's keys has to do with it.
	Symmetric bool
}

// ErrUnreadable says that a token's claims cannot be read: it is encrypted, or not an ID token.
var ErrUnreadable = errors.New("unreadable ID token")

// MaxIDToken is the longest ID token that is read, in bytes.
const MaxIDToken = 64 << 10

// maxClaim is the longest subject or sid that is used, in bytes. OpenID Connect Core 1.0, section 2, allows a subject 255.
const maxClaim = 255

// signatureAlgorithms are those an OP may sign ID tokens with (RFC 7518, RFC 8037); none is not among them.
var signatureAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256, jose.HS384, jose.HS512,
}

// ReadIDToken reads the claims of an ID token, and what its header names, WITHOUT verifying its signature. It is for tokens that were taken from the OP's
// own token endpoint, where OpenID Connect Core 1.0, section 3.1.3.7 (6), lets the connection stand for the signature; a token
// from anywhere else must not be read with it. Its errors wrap ErrUnreadable and hold nothing of the token.
func ReadIDToken(token string) (IDToken, error) {
	if len(token) > MaxIDToken {
		return IDToken{}, fmt.Errorf("%w: it is too long", ErrUnreadable)
	}
	parsed, err := jwt.ParseSigned(token, signatureAlgorithms)
	if err != nil {
		return IDToken{}, fmt.Errorf("%w: it is no signed JWT", ErrUnreadable)
	}
	var claims struct {
		jwt.Claims
		SessionID string `json:"sid"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return IDToken{}, fmt.Errorf("%w: its claims have other types than an ID token's", ErrUnreadable)
	}
	if claims.Subject == "" || len(claims.Subject) > maxClaim || len(claims.SessionID) > maxClaim || len(claims.Audience) == 0 {
		return IDToken{}, fmt.Errorf("%w: sub or aud is missing, or sub or sid is too long", ErrUnreadable)
	}
	header := parsed.Headers[0]
	return IDToken{
		Issuer: claims.Issuer, Subject: claims.Subject, Audience: claims.Audience, SessionID: claims.SessionID,
		KeyID: header.KeyID, Symmetric: strings.HasPrefix(header.Algorithm, "HS"),
	}, nil
}

// IssuerOf returns the iss that a token names, WITHOUT verifying anything; empty: it cannot be read. It says whose keys to verify the
// token by, and no more.
func IssuerOf(token string) string {
	if len(token) > MaxIDToken {
		return ""
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage // not a struct: the name is to be exact
	var issuer string
	if json.Unmarshal(decoded, &claims) != nil || json.Unmarshal(claims["iss"], &issuer) != nil {
		return ""
	}
	return issuer
}
