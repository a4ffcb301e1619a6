package tokens

import (
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// requestParameters are the members of a request object that [ReadRequestObject] returns.
var requestParameters = []string{"client_id", "redirect_uri", "state", "prompt", "response_mode"}

// requestAlgorithms are those a client may sign request objects with: any, and "none" (RFC 9101,
// section 10.1).
var requestAlgorithms = append([]jose.SignatureAlgorithm{"none"}, signatureAlgorithms...)

// ReadRequestObject reads the parameters of an authorization request from its request object (RFC
// 9101; OpenID Connect Core 1.0, section 6.1) WITHOUT verifying it. Parameters in a query are not
// verified either; the OP judges both. It returns those of client_id, redirect_uri, state, prompt
// and response_mode that the object has. Its errors wrap [ErrUnreadable]: the object is encrypted,
// too long, or not a request object.
func ReadRequestObject(object string) (map[string]string, error) {
	parsed, err := parse(object, MaxIDToken, requestAlgorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: request object: %w", ErrUnreadable, err)
	}
	var members map[string]any
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &members); err != nil {
		return nil, fmt.Errorf("%w: the request object is no JSON object", ErrUnreadable)
	}
	parameters := make(map[string]string)
	for _, name := range requestParameters {
		if value, ok := members[name].(string); ok && value != "" {
			parameters[name] = value
		}
	}
	return parameters, nil
}
