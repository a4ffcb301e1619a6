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
	"github.com/go-jose/go-jose/v4/json" // by exact names, duplicates refused: two readers must not read two things
	"github.com/go-jose/go-jose/v4/jwt"
)

// An IDToken is what is used of an ID token's claims (OpenID Connect Core 1.0, section 2).
type IDToken struct {
	Issuer          string
	Subject         string   // never empty
	Audience        []string // client IDs, at least one
	AuthorizedParty string   // azp; empty: it has none
	// SessionID is the sid claim (Front-Channel Logout 1.0, section 3): the OP's own name of its session; empty where the OP
	// does not give one.
	SessionID string
	// KeyID is the kid of the header, which an OP may leave out while it has one key (section 10.1); empty: it names no key.
	KeyID string
	// Algorithm is the alg of the header.
	Algorithm string
	// Expiry is the exp claim; zero: it has none.
	Expiry time.Time
}

// ClientID returns the client that the token was issued to; empty where that cannot be known from several.
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

// Symmetric reports whether the token is signed by a secret of the client's, so that none of the OP's keys has to do with it.
func (t IDToken) Symmetric() bool { return strings.HasPrefix(t.Algorithm, "HS") }

// ErrUnreadable says that a token's claims cannot be read: it is encrypted, or not an ID token.
var ErrUnreadable = errors.New("unreadable ID token")

// Errors of verification. Their texts are short reasons that hold nothing of the token.
var (
	// ErrSignature says that the key which the token names has not signed it.
	ErrSignature = errors.New("its signature is wrong")
	// ErrUnknownKey says that no known key of the OP fits: the token may be the OP's all the same.
	ErrUnknownKey = errors.New("it is signed by an unknown key")
)

// Bounds of a token, in bytes.
const (
	// MaxIDToken is the longest ID token that is read.
	MaxIDToken = 64 << 10
	// maxHeader is the longest header, in base64url as it stands in the token: 4 KiB of JSON. What is longer is not parsed.
	maxHeader = (4<<10)*4/3 + 2
	// maxClaim is the longest subject or sid that is used. OpenID Connect Core 1.0, section 2, allows a subject 255.
	maxClaim = 255
)

// expiryLeeway is for clocks that differ.
const expiryLeeway = 5 * time.Minute

// signatureAlgorithms are those an OP may sign ID tokens with (RFC 7518, RFC 8037); none is not among them.
var signatureAlgorithms = append(slices.Clone(asymmetric), jose.HS256, jose.HS384, jose.HS512)

// asymmetric are the algorithms by which an OP alone can have signed (RFC 7518, section 3.1; RFC 8037). none is not among them, nor are
// those whose key the client knows too.
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// ReadIDToken reads the claims of an ID token, and what its header names, WITHOUT verifying its signature. It is for tokens that were
// taken from the OP's own token endpoint, where OpenID Connect Core 1.0, section 3.1.3.7 (6), lets the connection stand for the
// signature; a token from anywhere else must not be read with it. Its errors wrap ErrUnreadable and hold nothing of the token.
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

// VerifyIDToken returns what an ID token says if one of the keys has signed it and it has not expired by now, give or take five
// minutes. Whose keys they are, and so the issuer, and the audience are for the caller to compare. Its errors wrap
// [ErrUnreadable], [ErrSignature] or [ErrUnknownKey], or say that the token has expired.
func (s KeySet) VerifyIDToken(token string, now time.Time) (IDToken, error) {
	signed, err := parse(token, MaxIDToken, asymmetric)
	if err == nil {
		err = signed.unfit()
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

// A signedToken has the shape of an ID token.
type signedToken struct {
	*jose.JSONWebSignature

	header jose.Header
}

// parse reads a token as far as that goes without a key.
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

// unfit says why a token with this header is no ID token; nil: it may be one. Tokens of other kinds say so by their type (RFC 8725,
// section 3.11), as access tokens (RFC 9068) and logout tokens (Back-Channel Logout 1.0, section 2.4) do.
func (t signedToken) unfit() error {
	if kind, given := t.header.ExtraHeaders[jose.HeaderType]; given {
		name, isText := kind.(string)
		if name = strings.ToLower(name); !isText || strings.TrimPrefix(name, "application/") != "jwt" {
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

// verify returns the payload. The token's own header never says where a key is.
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
		return IDToken{}, errors.New("its claims have other types than an ID token's, or stand there twice")
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
