package oidcsession

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// A setting is an option with the value that placeholders are replaced in.
type setting struct {
	option string
	value  *string
}

// settingsOf returns the settings of an option with a list of values.
func settingsOf(option string, values []string) []setting {
	var settings []setting
	for i := range values {
		settings = append(settings, setting{option, &values[i]})
	}
	return settings
}

// resolveAll replaces the placeholders in settings by what they are now. An empty setting stays
// empty; a placeholder that is unknown or empty is an error.
func resolveAll(settings ...setting) error {
	repl := caddy.NewReplacer()
	for _, s := range settings {
		if err := validatePlaceholders(*s.value); err != nil {
			return fmt.Errorf("%s: %w", s.option, err)
		}
		resolved, err := repl.ReplaceOrErr(*s.value, true, true)
		if err != nil {
			return fmt.Errorf("%s: resolving %q: %w", s.option, *s.value, err)
		}
		*s.value = resolved
	}
	return nil
}

// placeholders finds them in a value.
var placeholders = regexp.MustCompile(`\{([^{}]*)\}`)

// unknownAtStart returns the first placeholder of a value that has no meaning at start, when there
// is no request; empty: there is none. It reads no variable and no file. Values with escapes are
// for the replacer to judge.
func unknownAtStart(value string) string {
	if strings.Contains(value, `\`) {
		return ""
	}
	for _, found := range placeholders.FindAllStringSubmatch(value, -1) {
		name := found[1]
		if strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.") {
			continue
		}
		if _, known := caddy.NewReplacer().Get(name); !known {
			return found[0]
		}
	}
	return ""
}

// validatePlaceholders reports why a value cannot be resolved at start.
func validatePlaceholders(value string) error {
	name := unknownAtStart(value)
	switch {
	case name == "":
		return nil
	case strings.HasPrefix(name, "{http.") || strings.HasPrefix(name, "{vars."):
		return fmt.Errorf("%q has the placeholder %s of a request, but the value is the same for "+
			"all requests: write it out, or use {env.NAME} or {file./path}", value, name)
	default:
		return fmt.Errorf("%q has the unknown placeholder %s: "+
			"write the value out, or use {env.NAME} or {file./path}", value, name)
	}
}

// Errors of secrets. They say nothing of the secret: what looks like a placeholder may be a part
// of it.
var (
	errPlaceholder = errors.New("a placeholder is unknown or empty: " +
		"write {file./path} or {env.NAME}")
	errPath = errors.New("it looks like the path of a file: " +
		"write {file./path}, so that the file's content is used")
	errUnresolved = errors.New("it looks like a placeholder that is not replaced: " +
		"write {file./path} or {env.NAME}")
)

var (
	looksLikePath = regexp.MustCompile(
		`^(~?/|\.\.?[/\\]|[A-Za-z]:[/\\]|\\\\)[\w.+~@:/\\-]*$`)
	looksLikeUnresolved = regexp.MustCompile(
		`^\{[$\w./\\:-]+\}?$|\{(env|file)\.|^\$\{?\w+\}?$|^%\w+%$|^(env|file)\.[\w./\\-]+$`)
)

// validateSecret reports whether a secret is where the secret is, instead of the secret. Random
// texts with a slash or a brace are secrets.
func validateSecret(secret string) error {
	switch {
	case looksLikePath.MatchString(secret) && !isBase64Key(secret):
		return errPath
	case looksLikeUnresolved.MatchString(secret):
		return errUnresolved
	default:
		return nil
	}
}

// eachSecret returns what is made of each secret. Errors name it by its place.
func eachSecret(
	option string, secrets []string, do func(secret string) (string, error),
) (made [][]byte, err error) {
	for i, secret := range secrets {
		if secret, err = do(secret); err != nil {
			return nil, fmt.Errorf("%s %d: %w", option, i+1, err)
		}
		made = append(made, []byte(secret))
	}
	return made, nil
}

// resolveSecrets returns secrets with their placeholders replaced. The configuration keeps the
// placeholders, so that it can be shown.
func resolveSecrets(configured []string) ([][]byte, error) {
	return eachSecret("key", configured, resolveSecret)
}

// resolveSecret replaces the placeholders of a secret. The content of a file is a secret, whatever
// it looks like.
func resolveSecret(configured string) (string, error) {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(configured, true, true)
	if err != nil {
		return "", errPlaceholder
	}
	if strings.HasPrefix(configured, "{file.") {
		return resolved, nil
	}
	return resolved, validateSecret(resolved)
}

// validateSecrets checks the secrets without placeholders, before any is replaced. Others stand
// for themselves, so that the errors have the right places.
func validateSecrets(configured []string) error {
	secrets, err := eachSecret("key", configured, func(secret string) (string, error) {
		switch {
		case unknownAtStart(secret) != "":
			return "", errPlaceholder
		case placeholders.MatchString(secret):
			return secret + " is not known before the start", nil
		default:
			return secret, validateSecret(secret)
		}
	})
	if err == nil {
		_, err = newKeySource(secrets, nil, nil)
	}
	return err
}

// isWrittenOut reports whether a signing key is PEM or JSON, whose braces are no placeholders.
func isWrittenOut(document string) bool {
	isPEM := strings.HasPrefix(strings.TrimSpace(document), "-----BEGIN ")
	return isPEM || json.Valid([]byte(document))
}

// resolveSigningKeys does the same for signing keys. One that is written out is left as it is.
func resolveSigningKeys(configured []string) ([][]byte, error) {
	return eachSecret("signing_key", configured, func(document string) (string, error) {
		if isWrittenOut(document) {
			return document, nil
		}
		return resolveSecret(document)
	})
}

// validateSigningKeys checks the signing keys without placeholders.
func validateSigningKeys(configured ...string) error {
	_, err := eachSecret("signing_key", configured, func(document string) (_ string, err error) {
		written := isWrittenOut(document)
		if !written && strings.Contains(document, "{") {
			if unknownAtStart(document) != "" {
				err = errPlaceholder
			}
			return "", err
		}
		if err = validateSecret(document); err == nil || written {
			_, err = tokens.ParseSigningKeys([]byte(document))
		}
		return "", err
	})
	return err
}

// The placeholders for what the sealed cookie of a request says, for directives behind us and for
// logs.
const (
	idPlaceholder           = "http.oidc_session.id"
	browserStatePlaceholder = "http.oidc_session.browser_state"
)

// setPlaceholders lets the placeholders be asked for. The cookie is opened when one is, once, and
// not before. Without a session they are unknown, as placeholders are that nobody sets.
func (s *site) setPlaceholders(op *handlers.OP, r *http.Request) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	var opened bool
	var id, state string
	repl.Map(func(key string) (any, bool) {
		if key != idPlaceholder && key != browserStatePlaceholder {
			return nil, false
		}
		if !opened {
			id, state = s.observer.Session(op, r)
			opened = true
		}
		if key == idPlaceholder {
			return id, id != ""
		}
		return state, state != ""
	})
}

// replacePlaceholders replaces the placeholders of a request in a text. Unknown ones stay, as in
// Caddy's own respond and header: the body of a JSON request has braces, too.
func replacePlaceholders(r *http.Request, text string) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	return repl.ReplaceKnown(text, "")
}

// prepareSubRequest gives a sub-request what Caddy gives every request, with the caller's
// variables, and the caller's placeholders wherever it has none of its own: `map`, `vars` and the
// like stand in front of us and have run for the caller only. Its client is the caller's, also
// where a proxy says who that is.
func prepareSubRequest(sub, caller *http.Request, w http.ResponseWriter) *http.Request {
	server, _ := caller.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	forwardClient(sub, caller, server)
	repl := caddy.NewReplacer()
	sub = caddyhttp.PrepareRequest(sub, repl, w, server)
	if parent, ok := caller.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		snapshot := parent.WithoutFile() // the caller may go on, and add to its own
		repl.Map(snapshot.Get)           // last: what the sub-request knows of itself comes first
	}
	own, _ := sub.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	inherited, _ := caller.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	merged := maps.Clone(inherited)
	for _, name := range []string{caddyhttp.ClientIPVarKey, caddyhttp.TrustedProxyVarKey} {
		if _, known := inherited[name]; known {
			delete(own, name)
		}
	}
	maps.Copy(merged, own)
	maps.Copy(own, merged)
	return sub
}

// forwardClient passes on where a proxy in front says who the client is. What is not believed of
// the caller is not believed of the sub-request: reverse_proxy decides for both by the same
// addresses.
func forwardClient(sub, caller *http.Request, server *caddyhttp.Server) {
	fields := []string{"X-Forwarded-For"}
	if server != nil {
		fields = append(fields, server.ClientIPHeaders...)
	}
	for _, field := range fields {
		if values := caller.Header.Values(field); len(values) > 0 {
			sub.Header[http.CanonicalHeaderKey(field)] = slices.Clone(values)
		}
	}
}
