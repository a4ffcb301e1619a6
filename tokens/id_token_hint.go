package tokens

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// MaxHint is the longest id_token_hint that is accepted, in bytes. ID tokens may list hundreds of
// groups.
const MaxHint = 32 << 10

// Errors of hints. Their texts contain nothing of the token.
var (
	// ErrHintInvalid says that the OP cannot have issued the token as an ID token. The request is
	// invalid.
	ErrHintInvalid = errors.New("invalid id_token_hint")
	// ErrHintUnknownKey says that no known key of the OP matches. The OP may still have signed the
	// token, so that the request counts as one without a hint.
	ErrHintUnknownKey = errors.New("id_token_hint signed by an unknown key")
)

// An UnverifiedHint is a parsed id_token_hint whose signature is not verified yet.
type UnverifiedHint struct{ signed signedToken }

// ParseHint parses a hint, without any key. advertised are the OP's
// id_token_signing_alg_values_supported; without any, RS256 is meant, which every OP has. Its
// errors wrap [ErrHintInvalid].
func ParseHint(token string, advertised []string) (*UnverifiedHint, error) {
	signed, err := parse(token, MaxHint, allowed(advertised))
	if err == nil {
		err = signed.checkHeader()
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

// KeyID returns the kid of the header; empty if it has none.
func (u *UnverifiedHint) KeyID() string { return u.signed.header.KeyID }

// Verify returns the claims if the issuer signed the token. Expired tokens are accepted
// (RP-Initiated Logout 1.0, section 2). Its errors wrap [ErrHintInvalid] or [ErrHintUnknownKey].
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
