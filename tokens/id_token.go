// Package tokens reads the JSON Web Tokens of OpenID Connect.
package tokens

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // exact names, no duplicates: two readers must agree
	"github.com/go-jose/go-jose/v4/jwt"
)

// An IDToken holds the claims of an ID token that are used here (OpenID Connect Core 1.0, section
// 2).
type IDToken struct {
	Issuer          string
	Subject         string   // never empty
	Audience        []string // client IDs, at least one
	AuthorizedParty string   // azp; empty: it has none
	// SessionID is the sid claim (Front-Channel Logout 1.0, section 3), the OP's ID of its
	// session; empty if the OP sends none.
	SessionID string
	// KeyID is the kid of the header; empty if the OP leaves it out, as it may while it has one
	// key (section 10.1).
	KeyID     string
	Algorithm string    // the alg of the header
	Expiry    time.Time // exp; zero: it has none
}

// ClientID returns the client that the token was issued to; empty if its audience has several and
// azp names none.
func (t IDToken) ClientID() string {
	switch {
	case t.AuthorizedParty != "":
		return t.AuthorizedParty
	case len(t.Audience) == 1:
		return t.Audience[0]
	default:
		return ""
	}
}

// IsFor reports whether the token was issued to a client.
func (t IDToken) IsFor(clientID string) bool {
	if t.AuthorizedParty != "" {
		return t.AuthorizedParty == clientID
	}
	return slices.Contains(t.Audience, clientID)
}

// Symmetric reports whether the token is signed with the client's secret instead of a key of the
// OP.
func (t IDToken) Symmetric() bool { return strings.HasPrefix(t.Algorithm, "HS") }

// ErrUnreadable says that a token is encrypted or not an ID token.
var ErrUnreadable = errors.New("unreadable ID token")

// Errors of verification. Their texts contain nothing of the token.
var (
	// ErrSignature says that the key that the token names has not signed it.
	ErrSignature = errors.New("its signature is wrong")
	// ErrUnknownKey says that no known key of the OP matches. The OP may still have signed the
	// token.
	ErrUnknownKey = errors.New("it is signed by an unknown key")
)

// Bounds of a token, in bytes.
const (
	// MaxIDToken is the longest ID token that is read.
	MaxIDToken = 64 << 10
	// maxHeader is the longest header that is parsed: 4 KiB of JSON, in base64url.
	maxHeader = (4<<10)*4/3 + 2
	// maxClaim is the longest sub or sid that is accepted. OpenID Connect Core 1.0, section 2,
	// limits sub to 255.
	maxClaim = 255
)

// expiryLeeway allows for clocks that differ.
const expiryLeeway = 5 * time.Minute

// signatureAlgorithms are those an OP may sign ID tokens with (RFC 7518, RFC 8037), without
// "none".
var signatureAlgorithms = append(slices.Clone(asymmetric), jose.HS256, jose.HS384, jose.HS512)

// asymmetric are the algorithms by which only the OP can have signed (RFC 7518, section 3.1; RFC
// 8037): neither "none" nor those whose key the client has as well.
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// ReadIDToken reads an ID token WITHOUT verifying its signature. It is only for tokens from the
// OP's own token endpoint, where OpenID Connect Core 1.0, section 3.1.3.7 (6), lets the connection
// replace the signature. Its errors wrap [ErrUnreadable] and contain nothing of the token.
func ReadIDToken(token string) (IDToken, error) {
	signed, err := parse(token, MaxIDToken, signatureAlgorithms)
	if err != nil {
		return IDToken{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	claims, err := signed.read(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return IDToken{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return claims, nil
}

// VerifyIDToken returns the claims of an ID token that one of the keys has signed and that has not
// expired, with five minutes of leeway. The caller compares issuer and audience. Its errors wrap
// [ErrUnreadable], [ErrSignature] or [ErrUnknownKey], or say that the token has expired.
func (s KeySet) VerifyIDToken(token string, now time.Time) (IDToken, error) {
	signed, err := parse(token, MaxIDToken, asymmetric)
	if err == nil {
		err = signed.checkHeader()
	}
	if err != nil {
		return IDToken{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	payload, err := signed.verify(s)
	if err != nil {
		return IDToken{}, err
	}
	claims, err := signed.read(payload)
	switch {
	case err != nil:
		return IDToken{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	case claims.Expiry.IsZero() || now.After(claims.Expiry.Add(expiryLeeway)):
		return IDToken{}, errors.New("it has expired")
	}
	return claims, nil
}

// A signedToken is a parsed token whose signature is not verified yet.
type signedToken struct {
	*jose.JSONWebSignature

	header jose.Header
}

// parse parses a token, without any key.
func parse(token string, limit int, algorithms []jose.SignatureAlgorithm) (signedToken, error) {
	header, _, _ := strings.Cut(token, ".")
	switch {
	case len(token) > limit:
		return signedToken{}, errors.New("it is too long")
	case len(header) > maxHeader:
		return signedToken{}, errors.New("its header is too long")
	case strings.Count(token, ".") == 4:
		return signedToken{}, errors.New("it is encrypted")
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return signedToken{}, errors.New("it is no JWT signed by an algorithm that the OP may use")
	}
	return signedToken{signed, signed.Signatures[0].Protected}, nil
}

// checkHeader returns why a token with this header is not an ID token. Tokens of other kinds have
// a type of their own (RFC 8725, section 3.11), for example access tokens (RFC 9068) and logout
// tokens (Back-Channel Logout 1.0, section 2.4).
func (t signedToken) checkHeader() error {
	if kind, given := t.header.ExtraHeaders[jose.HeaderType]; given {
		name, _ := kind.(string)
		if strings.TrimPrefix(strings.ToLower(name), "application/") != "jwt" {
			return errOtherType
		}
	}
	if _, given := t.header.ExtraHeaders[jose.HeaderContentType]; given {
		return errors.New("it holds another token")
	}
	for _, extension := range []jose.HeaderKey{"crit", "b64"} {
		if _, given := t.header.ExtraHeaders[extension]; given {
			return errors.New("it has a critical extension")
		}
	}
	return nil
}

var errOtherType = errors.New("it is a token of another type")

// verify returns the payload if one of the keys has signed it. Keys in the header are ignored.
func (t signedToken) verify(keys KeySet) ([]byte, error) {
	candidates := keys.candidates(t.header.KeyID, jose.SignatureAlgorithm(t.header.Algorithm))
	for _, key := range candidates {
		if payload, err := t.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if t.header.KeyID != "" && len(candidates) > 0 {
		return nil, ErrSignature
	}
	return nil, ErrUnknownKey
}

// read reads the claims of an ID token.
func (t signedToken) read(payload []byte) (IDToken, error) {
	var claims struct {
		Issuer          string           `json:"iss"`
		Subject         string           `json:"sub"`
		Audience        jwt.Audience     `json:"aud"`
		AuthorizedParty string           `json:"azp"`
		SessionID       string           `json:"sid"`
		Expiry          *jwt.NumericDate `json:"exp"`
		Events          json.RawMessage  `json:"events"` // which no ID token has (RFC 8417)
	}
	if json.Unmarshal(payload, &claims) != nil {
		return IDToken{}, errors.New("a claim has another type than an ID token's, or is repeated")
	}
	switch {
	case len(claims.Events) > 0:
		return IDToken{}, errOtherType
	case claims.Subject == "" || len(claims.Audience) == 0 || claims.Audience[0] == "":
		return IDToken{}, errors.New("sub or aud is missing")
	case len(claims.Subject) > maxClaim || len(claims.SessionID) > maxClaim:
		return IDToken{}, errors.New("sub or sid is too long")
	}
	token := IDToken{
		Issuer: claims.Issuer, Subject: claims.Subject, SessionID: claims.SessionID,
		Audience: claims.Audience, AuthorizedParty: claims.AuthorizedParty,
		KeyID: t.header.KeyID, Algorithm: t.header.Algorithm,
	}
	if claims.Expiry != nil {
		token.Expiry = claims.Expiry.Time()
	}
	return token, nil
}

// IssuerOf returns the iss of a token WITHOUT verifying it; empty if it cannot be read. Use it
// only to choose the keys for verification.
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
	var claims map[string]json.RawMessage // unlike a struct, this needs the exact name
	var issuer string
	if json.Unmarshal(decoded, &claims) != nil || json.Unmarshal(claims["iss"], &issuer) != nil {
		return ""
	}
	return issuer
}
