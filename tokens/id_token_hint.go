package tokens

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// MaxHint is the longest id_token_hint that is read, in bytes: ID tokens may list hundreds of groups.
const MaxHint = 32 << 10

// Errors of hints. Their texts are short reasons that hold nothing of the token.
var (
	// ErrHintInvalid says that a token is none that the OP could have issued as an ID token: the request is a bad one.
	ErrHintInvalid = errors.New("invalid id_token_hint")
	// ErrHintUnknownKey says that no known key of the OP fits: the token may be the OP's all the same. It counts as no hint.
	ErrHintUnknownKey = errors.New("id_token_hint signed by an unknown key")
)

// An UnverifiedHint has the shape of an ID token.
type UnverifiedHint struct{ signed signedToken }

// ParseHint reads a token as far as that goes without a key. advertised are the algorithms that the OP signs ID tokens with
// (id_token_signing_alg_values_supported); none advertised means RS256, which every OP has. Its errors wrap ErrHintInvalid.
func ParseHint(token string, advertised []string) (*UnverifiedHint, error) {
	signed, err := parse(token, MaxHint, allowed(advertised))
	if err == nil {
		err = signed.unfit()
	}
	if err != nil {
		return nil, invalidHint(err)
	}
	return &UnverifiedHint{signed}, nil
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

// KeyID returns the name of the key that it says it was signed with; empty: none.
func (u *UnverifiedHint) KeyID() string { return u.signed.header.KeyID }

// Verify returns what the token says, if the issuer signed it. One that has expired is good (RP-Initiated Logout 1.0, section 2). Its
// errors wrap ErrHintInvalid or ErrHintUnknownKey.
func (u *UnverifiedHint) Verify(issuer string, keys KeySet) (IDToken, error) {
	payload, err := u.signed.verify(keys)
	if errors.Is(err, ErrUnknownKey) {
		return IDToken{}, ErrHintUnknownKey
	}
	if err != nil {
		return IDToken{}, invalidHint(err)
	}
	claims, err := u.signed.read(payload)
	if err != nil {
		return IDToken{}, invalidHint(err)
	}
	if claims.Issuer != issuer {
		return IDToken{}, invalidHint(errors.New("it was issued by another issuer"))
	}
	return claims, nil
}

func invalidHint(reason error) error { return fmt.Errorf("%w: %w", ErrHintInvalid, reason) }
