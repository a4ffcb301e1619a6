package handlers

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

const (
	maxIssuers = 64  // of one OP
	maxSegment = 128 // bytes of a path segment that a * stands for
)

// A pattern is a text, or one with a path segment in it that is left open.
type pattern struct {
	before, after string
	open          bool // before, a segment, after; else before alone
}

// match reports whether a text is that of the pattern, and returns the segment that is left open
// there. It allocates nothing.
func (p pattern) match(text string) (segment string, ok bool) {
	if !p.open {
		return "", text == p.before && text != ""
	}
	rest, ok := strings.CutPrefix(text, p.before)
	if !ok {
		return "", false
	}
	segment, ok = strings.CutSuffix(rest, p.after)
	return segment, ok && isSegment(segment)
}

// with returns the text that has a segment where the pattern leaves it open.
func (p pattern) with(segment string) string {
	if !p.open {
		return p.before
	}
	return p.before + segment + p.after
}

// sibling returns the pattern with a path in place of the well-known one at its end.
func (p pattern) sibling(path string) (sibling pattern, ok bool) {
	end := &p.before
	if p.open {
		end = &p.after
	}
	*end, ok = strings.CutSuffix(*end, WellKnown)
	*end += path
	return p, ok
}

// isSegment reports whether a text may stand for the * of an issuer: one path segment that is the
// same escaped and unescaped (unreserved characters of RFC 3986, section 2.3).
func isSegment(text string) bool {
	reserved := func(c rune) bool { return c > 127 || !exchange.IsUnreserved(byte(c)) }
	return text != "" && text != "." && text != ".." && len(text) <= maxSegment &&
		!strings.ContainsFunc(text, reserved)
}

// An IssuerName is a configured issuer: one, or all that differ in their last path segment.
type IssuerName struct {
	text   string
	issuer pattern
	// Path is that of the issuer, without a slash at its end and without what is left open.
	Path     string
	document pattern // the path of its own document (OpenID Connect Discovery 1.0, section 4)
}

// errWildcard says that a * stands where none may.
var errWildcard = errors.New("a * may only be its last path segment")

// parseIssuer reads an issuer of the configuration.
func parseIssuer(text string) (IssuerName, error) {
	name := IssuerName{text: text, issuer: pattern{before: text}}
	if before, after, open := strings.Cut(text, "/*"); open && (after == "" || after == "/") {
		name.issuer = pattern{before: before + "/", after: after, open: true}
	}
	if strings.Contains(name.issuer.before, "*") {
		return IssuerName{}, errWildcard
	}
	u, err := url.Parse(name.issuer.before)
	if err != nil {
		return IssuerName{}, errors.New("it is no URL") // the parser's error repeats it
	}
	name.Path = strings.TrimSuffix(u.Path, "/")
	if name.issuer.open && u.Host == "" {
		return IssuerName{}, errWildcard
	}
	name.document = pattern{before: name.Path + WellKnown}
	if name.issuer.open {
		name.document = pattern{before: u.Path, after: WellKnown, open: true}
	}
	return name, nil
}

// covers reports whether another issuer is one of this name's, or has its document where this one
// has it.
func (n IssuerName) covers(other IssuerName) bool {
	if other.issuer.open {
		return n.document == other.document
	}
	_, ok := n.document.match(other.document.before)
	return ok
}

// parseIssuers reads the issuers of one OP.
func parseIssuers(issuers []string) ([]IssuerName, error) {
	if len(issuers) > maxIssuers {
		return nil, fmt.Errorf("%w: there are more than %d", ErrIssuer, maxIssuers)
	}
	var names []IssuerName
	for _, text := range issuers {
		name, err := parseIssuer(text)
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrIssuer, text, err)
		}
		for _, before := range names {
			if before.text == text {
				return nil, fmt.Errorf("%w %q: it is given twice", ErrIssuer, text)
			}
			for _, pair := range [][2]IssuerName{{before, name}, {name, before}} {
				if wide, one := pair[0], pair[1]; wide.covers(one) {
					return nil, fmt.Errorf("%w %q: %q stands for it already",
						ErrIssuer, one.text, wide.text)
				}
			}
		}
		names = append(names, name)
	}
	return names, nil
}

// sharedPath is the longest path that all issuers are below, in whole segments.
func sharedPath(names []IssuerName) string {
	shared := names[0].Path
	for _, name := range names[1:] {
		for !IsPathBelow(name.Path, shared) {
			shared = shared[:strings.LastIndexByte(shared, '/')]
		}
	}
	return shared
}

// parseDiscoveryPath reads the path of a discovery document that is not at its issuer's own path.
// One of its segments may be *.
func parseDiscoveryPath(path string) (pattern, error) {
	if path == "" {
		return pattern{}, fmt.Errorf("%w: it is empty", ErrPath)
	}
	if err := ValidatePath("discovery", strings.ReplaceAll(path, "*", "x")); err != nil {
		return pattern{}, err
	}
	before, after, open := strings.Cut(path, "*")
	if open && (!strings.HasSuffix(before, "/") || after != "" && after[0] != '/' ||
		strings.Contains(after, "*")) {
		return pattern{}, fmt.Errorf("discovery: %w %q: a * may only be one whole segment of it",
			ErrPath, path)
	}
	return pattern{before, after, open}, nil
}

// parseDiscoveryPaths reads the paths of an OP's documents. Its errors wrap ErrPath.
func parseDiscoveryPaths(paths []string) (patterns []pattern, err error) {
	for i, path := range paths {
		parsed, err := parseDiscoveryPath(path)
		if err != nil {
			return nil, err
		}
		if slices.Contains(paths[:i], path) {
			return nil, fmt.Errorf("discovery: %w %q: it is given twice", ErrPath, path)
		}
		patterns = append(patterns, parsed)
	}
	return patterns, nil
}

// ValidateIssuers reports why issuers cannot be those of one OP: each must be an absolute https or
// http URL with a host, without query, fragment and user information; its last path segment may be
// *, which stands for any. They must share one origin, and none may be named twice. Its errors wrap
// ErrIssuer.
func ValidateIssuers(issuers ...string) error {
	_, err := NewOP(issuers...)
	return err
}

// ValidateDiscovery reports why an OP cannot have its documents at these paths. Its errors wrap
// ErrPath.
func ValidateDiscovery(paths ...string) error {
	_, err := parseDiscoveryPaths(paths)
	return err
}

// ValidateDiscoveryAlone reports why an OP whose issuer is not configured cannot have its documents
// at these paths. Its errors wrap ErrPath.
func ValidateDiscoveryAlone(paths []string) error {
	op, err := new(OP).withDocumentPaths(paths)
	if err == nil && len(paths) > 0 && op.DiscoveryPath == "" {
		err = fmt.Errorf("discovery: %w %q: "+
			"without an issuer, the OP must be asked at a path without *", ErrPath, paths[0])
	}
	return err
}

// AnyOP reports whether any of some OPs, each given by its issuers, is of a kind. An OP without
// configured issuers has none.
func AnyOP(all [][]string, is func(*OP) bool) bool {
	return slices.ContainsFunc(all, func(issuers []string) bool {
		if len(issuers) == 0 {
			return false
		}
		op, err := NewOP(issuers...)
		return err == nil && is(op)
	})
}

// HasSeveralIssuers reports whether the OP has, or may have, more issuers than one.
func (op *OP) HasSeveralIssuers() bool {
	return len(op.Names) > 1 || len(op.Names) == 1 && op.Names[0].issuer.open
}

// Issues reports whether an issuer identifier is one of the OP's. ID tokens and authorization
// responses (RFC 9207) name any of them.
func (op *OP) Issues(issuer string) bool {
	if issuer == "" || len(issuer) > MaxClientID {
		return false
	}
	return slices.ContainsFunc(op.Names, func(name IssuerName) bool {
		_, ok := name.issuer.match(issuer)
		return ok
	})
}

// HasPathBelow reports whether the path of one of the OP's issuers is a path, or below it.
func (op *OP) HasPathBelow(path string) bool {
	return slices.ContainsFunc(op.Names, func(name IssuerName) bool {
		return IsPathBelow(name.Path, path)
	})
}

// IsPathBelow reports whether a path is another one, or below it.
func IsPathBelow(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '/')
}
