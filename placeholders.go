package oidcsession

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// resolveAll replaces the placeholders in settings by what they are now. An empty setting stays empty; a placeholder that is
// unknown or empty is an error.
func resolveAll(settings ...*string) error {
	repl := caddy.NewReplacer()
	for _, setting := range settings {
		resolved, err := repl.ReplaceOrErr(*setting, true, true)
		if err != nil {
			return fmt.Errorf("resolving %q: %w", *setting, err)
		}
		*setting = resolved
	}
	return nil
}

// errPlaceholder says what is wrong with a secret, and nothing of it: what looks like a placeholder may be a part of the secret itself.
var errPlaceholder = errors.New("a placeholder is unknown or empty")

// resolveSecrets returns secrets with their placeholders replaced. The configuration keeps the placeholders, so that it can be
// shown; errors name the secret by its place.
func resolveSecrets(configured []string) ([][]byte, error) {
	repl := caddy.NewReplacer()
	var secrets [][]byte
	for i, secret := range configured {
		resolved, err := repl.ReplaceOrErr(secret, true, true)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, errPlaceholder)
		}
		secrets = append(secrets, []byte(resolved))
	}
	return secrets, nil
}

// resolveSigningKeys does the same for signing keys. One that is written out, as PEM or JSON, is left as it is: its braces are no
// placeholders.
func resolveSigningKeys(configured []string) ([][]byte, error) {
	repl := caddy.NewReplacer()
	var documents [][]byte
	for i, document := range configured {
		if !strings.HasPrefix(strings.TrimSpace(document), "-----BEGIN ") && !json.Valid([]byte(document)) {
			resolved, err := repl.ReplaceOrErr(document, true, true)
			if err != nil {
				return nil, fmt.Errorf("signing_key %d: %w", i+1, errPlaceholder)
			}
			document = resolved
		}
		documents = append(documents, []byte(document))
	}
	return documents, nil
}
