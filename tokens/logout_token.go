package tokens

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// LogoutTokenLifetime is how long a logout token is valid: "preferably at most two minutes"
// (Back-Channel Logout 1.0, section 4).
const LogoutTokenLifetime = 2 * time.Minute

// logoutEvent is the member of events that marks a JWT as a logout token (section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// A LogoutToken holds the claims of a logout token (Back-Channel Logout 1.0, section 2.4).
type LogoutToken struct {
	Issuer   string // iss
	ClientID string // aud
	// Subject and SessionID are sub and sid of the client's ID tokens. One of them may be empty,
	// and is left out.
	Subject, SessionID string
	IssuedAt           time.Time // iat; exp is LogoutTokenLifetime later
}

// Errors of signing.
var (
	// ErrNoSigningKey says that no key signs by an algorithm.
	ErrNoSigningKey = errors.New("no signing key for the algorithm")
	// ErrWithheld says that no key that signs by an algorithm is published: clients could not
	// verify it.
	ErrWithheld = errors.New("the OP's keys have no signing key for the algorithm")
	// ErrLogoutToken says that a logout token lacks a required claim.
	ErrLogoutToken = errors.New("invalid logout token")
)

// logoutClaims are all claims of a logout token. A nonce is prohibited (section 2.4).
type logoutClaims struct {
	Issuer    string              `json:"iss"`
	Audience  string              `json:"aud"`
	IssuedAt  int64               `json:"iat"`
	Expires   int64               `json:"exp"`
	ID        string              `json:"jti"`
	Events    map[string]struct{} `json:"events"`
	Subject   string              `json:"sub,omitempty"`
	SessionID string              `json:"sid,omitempty"`
}

// Sign returns a logout token as a compact JWS with a new jti. The first published key for alg
// (RFC 7518, section 3.1; empty: RS256) signs. Its errors wrap [ErrNoSigningKey], [ErrWithheld] or
// [ErrLogoutToken].
func (k *SigningKeys) Sign(token LogoutToken, alg string) (string, error) {
	if token.Issuer == "" || token.ClientID == "" || token.Subject == "" && token.SessionID == "" {
		return "", fmt.Errorf("%w: it needs iss, aud, and sub or sid", ErrLogoutToken)
	}
	if !k.supports(alg) {
		return "", fmt.Errorf("%w %q: there are keys for %s",
			ErrNoSigningKey, alg, strings.Join(k.Algorithms(), ", "))
	}
	key, found := k.first(algorithm(alg))
	if !found {
		return "", fmt.Errorf("%w %q", ErrWithheld, algorithm(alg))
	}
	signer, err := key.signer()
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(logoutClaims{
		Issuer: token.Issuer, Audience: token.ClientID,
		IssuedAt: token.IssuedAt.Unix(), Expires: token.IssuedAt.Add(LogoutTokenLifetime).Unix(),
		ID: rand.Text(), Events: map[string]struct{}{logoutEvent: {}},
		Subject: token.Subject, SessionID: token.SessionID,
	}).Serialize()
}

// algorithm applies the default of id_token_signed_response_alg (OpenID Connect Dynamic Client
// Registration 1.0, section 2).
func algorithm(alg string) jose.SignatureAlgorithm {
	if alg == "" {
		return jose.RS256
	}
	return jose.SignatureAlgorithm(alg)
}
