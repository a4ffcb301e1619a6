package oidcsession

import (
	"fmt"

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

// resolveSecrets returns secrets with their placeholders replaced. The configuration keeps the placeholders, so that it can be
// shown; errors name the secret by its place.
func resolveSecrets(configured []string) ([][]byte, error) {
	repl := caddy.NewReplacer()
	var secrets [][]byte
	for i, secret := range configured {
		resolved, err := repl.ReplaceOrErr(secret, true, true)
		if err != nil {
			return nil, fmt.Errorf("resolving key %d: %w", i+1, err)
		}
		secrets = append(secrets, []byte(resolved))
	}
	return secrets, nil
}
