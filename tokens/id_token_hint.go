package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// MaxHint is the longest id_token_hint that is read, in bytes.
const MaxHint = 16 << 10

// Errors of hints. Their texts are short reasons that hold nothing of the token.
var (
	// ErrHintInvalid says that a token is none that the OP could have issued as an ID token: the request is a bad one.
	ErrHintInvalid = errors.New("invalid id_token_hint")
	// ErrHintUnknownKey says that no known key of the OP fits: the token may be the OP's all the same. It counts as no hint.
	ErrHintUnknownKey = errors.New("id_token_hint signed by an unknown key")
)

// asymmetric are the algorithms by which an OP alone can have signed (RFC 7518, section 3.1; RFC 8037). none is not among them, nor are
// those whose key the client knows too.
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// A Hint is what a verified id_token_hint says (RP-Initiated Logout 1.0, section 2).
type Hint struct {
	Subject         string   // never empty
	SessionID       string   // sid; empty: it has none
	Audience        []string // never empty
	AuthorizedParty string   // azp; empty: it has none
}

// ClientID returns the client that the ID token was issued to; empty where that cannot be told from several.
func (h Hint) ClientID() string {
	switch {
	case h.AuthorizedParty != "":
		return h.AuthorizedParty
	case len(h.Audience) == 1:
		return h.Audience[0]
	default:
		return ""
	}
}

// IsFor tells whether the ID token was issued to a client.
func (h Hint) IsFor(clientID string) bool {
	if h.AuthorizedParty != "" {
		return h.AuthorizedParty == clientID
	}
	return slices.Contains(h.Audience, clientID)
}

// An UnverifiedHint has the shape of an ID token.
type UnverifiedHint struct {
	signed    *jose.JSONWebSignature
	kid       string
	algorithm jose.SignatureAlgorithm
}

// ParseHint reads a token as far as that goes without a key. advertised are the algorithms that the OP signs ID tokens with
// (id_token_signing_alg_values_supported); none advertised means RS256, which every OP has. Its errors wrap ErrHintInvalid.
func ParseHint(token string, advertised []string) (*UnverifiedHint, error) {
	if len(token) > MaxHint {
		return nil, invalidHint("it is too long")
	}
	if strings.Count(token, ".") == 4 {
		return nil, invalidHint("it is encrypted")
	}
	signed, err := jose.ParseSignedCompact(token, allowed(advertised))
	if err != nil {
		return nil, invalidHint("it is no JWT signed by an algorithm that the OP advertises")
	}
	header := signed.Signatures[0].Protected
	if reason := unfit(header); reason != "" {
		return nil, invalidHint(reason)
	}
	return &UnverifiedHint{signed: signed, kid: header.KeyID, algorithm: jose.SignatureAlgorithm(header.Algorithm)}, nil
}

// allowed are the algorithms that are both asymmetric and advertised.
func allowed(advertised []string) []jose.SignatureAlgorithm {
	if len(advertised) == 0 {
		return []jose.SignatureAlgorithm{jose.RS256}
	}
	return slices.DeleteFunc(slices.Clone(asymmetric), func(a jose.SignatureAlgorithm) bool {
		return !slices.Contains(advertised, string(a))
	})
}

// unfit says why a token with this header is no ID token; empty: it may be one. Tokens of other kinds say so by their type (RFC 8725,
// section 3.11), as access tokens (RFC 9068) and logout tokens (Back-Channel Logout 1.0, section 2.4) do.
func unfit(header jose.Header) string {
	if kind, given := header.ExtraHeaders[jose.HeaderType]; given {
		name, isText := kind.(string)
		if name = strings.ToLower(name); !isText || strings.TrimPrefix(name, "application/") != "jwt" {
			return "it is a token of another type"
		}
	}
	if _, given := header.ExtraHeaders[jose.HeaderContentType]; given {
		return "it holds another token"
	}
	for _, extension := range []jose.HeaderKey{"crit", "b64"} {
		if _, given := header.ExtraHeaders[extension]; given {
			return "it has a critical extension"
		}
	}
	return ""
}

// KeyID returns the name of the key that it says it was signed with; empty: none.
func (u *UnverifiedHint) KeyID() string { return u.kid }

// hintClaims are those of an ID token (OpenID Connect Core 1.0, section 2), and events, which no ID token has (RFC 8417).
type hintClaims struct {
	Issuer          string          `json:"iss"`
	Subject         string          `json:"sub"`
	Audience        jwt.Audience    `json:"aud"`
	AuthorizedParty string          `json:"azp"`
	SessionID       string          `json:"sid"`
	Events          json.RawMessage `json:"events"`
}

// Verify tells what the token says, if the issuer signed it. One that has expired is good (section 2). Its errors wrap ErrHintInvalid or
// ErrHintUnknownKey.
func (u *UnverifiedHint) Verify(issuer string, keys KeySet) (Hint, error) {
	payload, err := u.payload(keys)
	if err != nil {
		return Hint{}, err
	}
	var claims hintClaims
	if json.Unmarshal(payload, &claims) != nil {
		return Hint{}, invalidHint("its claims have other types than an ID token's")
	}
	switch {
	case claims.Issuer != issuer:
		return Hint{}, invalidHint("it was issued by another issuer")
	case len(claims.Events) > 0:
		return Hint{}, invalidHint("it is a token of another type")
	case claims.Subject == "" || len(claims.Audience) == 0 || claims.Audience[0] == "":
		return Hint{}, invalidHint("sub or aud is missing")
	case len(claims.Subject) > maxClaim || len(claims.SessionID) > maxClaim:
		return Hint{}, invalidHint("sub or sid is too long")
	}
	return Hint{
		Subject: claims.Subject, SessionID: claims.SessionID,
		Audience: claims.Audience, AuthorizedParty: claims.AuthorizedParty,
	}, nil
}

// payload verifies the signature. The token's own header never says where a key is.
func (u *UnverifiedHint) payload(keys KeySet) ([]byte, error) {
	candidates := keys.candidates(u.kid, u.algorithm)
	for _, key := range candidates {
		if payload, err := u.signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if u.kid != "" && len(candidates) > 0 {
		return nil, invalidHint("its signature is wrong")
	}
	return nil, fmt.Errorf("%w", ErrHintUnknownKey)
}

func invalidHint(reason string) error { return fmt.Errorf("%w: %s", ErrHintInvalid, reason) }
