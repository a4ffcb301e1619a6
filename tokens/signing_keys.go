package tokens

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of signing keys.
const (
	maxSigningKeys     = 16
	maxSigningDocument = 64 << 10 // bytes
)

// logoutTyp is the typ of logout tokens (Back-Channel Logout 1.0, section 2.4).
const logoutTyp = "logout+jwt"

// SigningKeys are the private keys that sign logout tokens. The first one for an algorithm signs;
// the public parts of all are published. They never change, and are safe for concurrent use. Use
// [ParseSigningKeys] or [GenerateSigningKeys].
type SigningKeys struct {
	keys []signingKey
}

// A signingKey signs by one algorithm, since a key should have one purpose (RFC 8017, section 6;
// NIST SP 800-57, section 5.2).
type signingKey struct {
	private, public any
	algorithm       jose.SignatureAlgorithm
	kid             string          // empty: the OP owns the key, and gives it none
	thumbprint      string          // a kid that no other key has by chance
	document        json.RawMessage // the public JWK
	status          keyStatus
}

// A keyStatus is how a key relates to the OP's JWK Set.
type keyStatus int

const (
	published   keyStatus = iota // added to the set
	opOwned                      // in the OP's own set
	unpublished                  // cannot be added; does not sign
)

// A PublishedKey is the public part of a signing key.
type PublishedKey struct {
	ID  string          // kid; by default the thumbprint (RFC 7638, unpadded base64url)
	JWK json.RawMessage // JSON (RFC 7517), with kid, use and alg
}

// ErrSigningKey says that a document has no usable signing keys. The error texts contain nothing
// of the document.
var ErrSigningKey = errors.New("invalid signing key")

// ParseSigningKeys reads private keys. Each document is one or several blocks of PEM (PKCS #8,
// PKCS #1, SEC 1), a JWK, or a JWK Set. Keys must be RSA of 2048 to 4096 bits, EC on P-256, P-384
// or P-521, or Ed25519. An RSA key signs by RS256, or by PS256 if it is a JWK with that alg, but
// never by both. Its errors wrap [ErrSigningKey].
func ParseSigningKeys(documents ...[]byte) (*SigningKeys, error) {
	k := new(SigningKeys)
	seen := make(map[string]jose.SignatureAlgorithm) // by thumbprint
	for _, document := range documents {
		keys, err := parseSigningDocument(document)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if err := k.add(key, seen); err != nil {
				return nil, err
			}
		}
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrSigningKey)
	}
	return k, nil
}

func parseSigningDocument(document []byte) ([]jose.JSONWebKey, error) {
	document = bytes.TrimSpace(document)
	switch {
	case len(document) > maxSigningDocument:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrSigningKey, maxSigningDocument)
	case bytes.HasPrefix(document, []byte("{")):
		return parseSigningJWKs(document)
	case bytes.HasPrefix(document, []byte("-----BEGIN ")):
		return parsePEM(document)
	default:
		return nil, fmt.Errorf("%w: neither PEM nor a JWK", ErrSigningKey)
	}
}

func parseSigningJWKs(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(document, &set) != nil {
		return nil, fmt.Errorf("%w: neither a JWK nor a JWK Set", ErrSigningKey)
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{document}
	}
	if len(set.Keys) > maxSigningKeys {
		return nil, fmt.Errorf("%w: more than %d keys", ErrSigningKey, maxSigningKeys)
	}
	var keys []jose.JSONWebKey
	for i, text := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(text); err != nil {
			return nil, fmt.Errorf("%w: JWK %d cannot be read", ErrSigningKey, i+1)
		}
		if key.Use != "" && key.Use != "sig" {
			return nil, fmt.Errorf("%w: JWK %d is not for signatures", ErrSigningKey, i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parsePEM(document []byte) ([]jose.JSONWebKey, error) {
	var keys []jose.JSONWebKey
	for len(bytes.TrimSpace(document)) > 0 {
		block, rest := pem.Decode(document)
		if block == nil || len(keys) >= maxSigningKeys {
			return nil, fmt.Errorf("%w: broken PEM, or more than %d blocks",
				ErrSigningKey, maxSigningKeys)
		}
		document = rest
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes it before the key
			continue
		}
		private, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("%w: PEM block %d is no unencrypted private key",
				ErrSigningKey, len(keys)+1)
		}
		keys = append(keys, jose.JSONWebKey{Key: private})
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, ErrSigningKey
	}
}

// add adds a key.
func (k *SigningKeys) add(key jose.JSONWebKey, seen map[string]jose.SignatureAlgorithm) error {
	algs, err := algorithmsOf(key.Key)
	if err != nil {
		return err
	}
	alg := algs[0]
	if key.Algorithm != "" {
		if alg = jose.SignatureAlgorithm(key.Algorithm); !slices.Contains(algs, alg) {
			return fmt.Errorf("%w: its alg does not fit it", ErrSigningKey)
		}
	}
	public := key.Public()
	thumbprint, err := thumbprintOf(public)
	if err != nil {
		return fmt.Errorf("%w: no thumbprint", ErrSigningKey)
	}
	if earlier, given := seen[thumbprint]; given && earlier == alg {
		return nil // given twice
	} else if given {
		return fmt.Errorf("%w: one key is given for %s and %s: give each a key of its own",
			ErrSigningKey, earlier, alg)
	}
	if seen[thumbprint] = alg; len(seen) > maxSigningKeys {
		return fmt.Errorf("%w: more than %d keys", ErrSigningKey, maxSigningKeys)
	}
	return k.addChecked(signingKey{
		private: key.Key, public: public.Key, algorithm: alg,
		kid: cmp.Or(key.KeyID, thumbprint), thumbprint: thumbprint,
	})
}

// algorithmsOf returns the algorithms that a private key can sign by, the default first.
func algorithmsOf(private any) ([]jose.SignatureAlgorithm, error) {
	switch key := private.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("%w: RSA of %d bits: it must have %d to %d",
				ErrSigningKey, bits, minRSABits, maxRSABits)
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.PS256}, nil
	case *ecdsa.PrivateKey:
		byCurve := map[elliptic.Curve]jose.SignatureAlgorithm{
			elliptic.P256(): jose.ES256, elliptic.P384(): jose.ES384, elliptic.P521(): jose.ES512,
		}
		if alg, found := byCurve[key.Curve]; found {
			return []jose.SignatureAlgorithm{alg}, nil
		}
	case ed25519.PrivateKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}, nil
	}
	return nil, fmt.Errorf("%w: it is no private key of RSA, EC (P-256, P-384, P-521) or Ed25519",
		ErrSigningKey)
}

// addChecked adds a key if it can sign and be published.
func (k *SigningKeys) addChecked(key signingKey) error {
	if k.hasKid(key.kid) {
		return fmt.Errorf("%w: two keys have one kid", ErrSigningKey)
	}
	var err error
	if key.document, err = key.publicJWK(); err != nil {
		return fmt.Errorf("%w: its public part cannot be written", ErrSigningKey)
	}
	if signer, err := key.signer(); err != nil || !isPair(signer, key.public) {
		return fmt.Errorf("%w: it cannot sign, or its public part is another key's", ErrSigningKey)
	}
	k.keys = append(k.keys, key)
	return nil
}

func (k *SigningKeys) hasKid(kid string) bool {
	return slices.ContainsFunc(k.keys, func(other signingKey) bool { return other.kid == kid })
}

func (k signingKey) signer() (jose.Signer, error) {
	key := jose.JSONWebKey{Key: k.private, KeyID: k.kid}
	options := (&jose.SignerOptions{}).WithType(logoutTyp)
	return jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: key}, options)
}

func (k signingKey) publicJWK() (json.RawMessage, error) {
	return json.Marshal(jose.JSONWebKey{
		Key: k.public, KeyID: k.kid, Algorithm: string(k.algorithm), Use: "sig",
	})
}

// isPair reports whether the public key verifies the signer's signatures. A JWK may have the parts
// of two keys.
func isPair(signer jose.Signer, public any) bool {
	message := []byte("a pair")
	signed, err := signer.Sign(message)
	if err != nil {
		return false
	}
	_, err = signed.Verify(public)
	return err == nil
}

// GenerateSigningKeys generates keys for RS256, PS256, ES256 and EdDSA. document is their JWK Set,
// for [ParseSigningKeys]. Keep it secret.
func GenerateSigningKeys() (keys *SigningKeys, document []byte, err error) {
	var set jose.JSONWebKeySet
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256} {
		key, err := rsa.GenerateKey(rand.Reader, minRSABits)
		if err != nil {
			return nil, nil, fmt.Errorf("generating signing keys: %w", err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, Use: "sig", Algorithm: string(alg)})
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating signing keys: %w", err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating signing keys: %w", err)
	}
	set.Keys = append(set.Keys,
		jose.JSONWebKey{Key: ecKey, Use: "sig"}, jose.JSONWebKey{Key: edKey, Use: "sig"})
	if document, err = json.Marshal(set); err != nil {
		return nil, nil, fmt.Errorf("generating signing keys: %w", err)
	}
	keys, err = ParseSigningKeys(document)
	return keys, document, err
}

// GeneratedAlgorithms returns the algorithms of generated keys, in the order of
// [SigningKeys.Algorithms].
func GeneratedAlgorithms() []string { return []string{"ES256", "EdDSA", "PS256", "RS256"} }

// Algorithms returns the algorithms of the keys, sorted.
func (k *SigningKeys) Algorithms() []string {
	var algs []string
	for _, key := range k.keys {
		algs = append(algs, string(key.algorithm))
	}
	slices.Sort(algs)
	return slices.Compact(algs)
}

// supports reports whether there is a key for an algorithm; empty: RS256.
func (k *SigningKeys) supports(alg string) bool {
	return slices.ContainsFunc(k.keys, func(key signingKey) bool {
		return key.algorithm == algorithm(alg)
	})
}

// first returns the first key for an algorithm that clients can get.
func (k *SigningKeys) first(alg jose.SignatureAlgorithm) (signingKey, bool) {
	i := slices.IndexFunc(k.keys, func(key signingKey) bool {
		return key.algorithm == alg && key.status != unpublished
	})
	if i < 0 {
		return signingKey{}, false
	}
	return k.keys[i], true
}

// Published returns the public keys to add to the OP's JWK Set, in their order.
func (k *SigningKeys) Published() []PublishedKey {
	var keys []PublishedKey
	for _, key := range k.keys {
		if key.status == published {
			keys = append(keys, PublishedKey{ID: key.kid, JWK: key.document})
		}
	}
	return keys
}
