package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// AnyOP reports whether any of some OPs, by their issuers, is of a kind. One without has none.
func AnyOP(all [][]string, is func(*OP) bool) bool {
	return slices.ContainsFunc(all, func(issuers []string) bool {
		if len(issuers) == 0 {
			return false
		}
		op, err := NewOP(issuers...)
		return err == nil && is(op)
	})
}

// errForeignIssuer says that a document is not the OP's.
var errForeignIssuer = errors.New("it is the document of another issuer")

// OfDocument returns the OP as the issuer of a document has it.
func (op *OP) OfDocument(document []byte) (*OP, error) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, exchange.ErrNoDocument
	}
	var named string
	if json.Unmarshal(has["issuer"], &named) != nil || !op.Issues(named) {
		return nil, errForeignIssuer
	}
	if view := op.As(named); view != nil {
		return view, nil
	}
	view := *op
	view.DocumentIssuer = named
	return &view, nil
}

const (
	// maxIssuers is how many issuers of one OP may be configured.
	maxIssuers = 64
	// maxSegment is the longest path segment that a * stands for, in bytes.
	maxSegment = 128
)

// A pattern is a text, or one with a path segment in it that is left open.
type pattern struct {
	before, after string
	open          bool // before, a segment, after; else before alone
}

// match reports whether a text is that of the pattern, and returns the segment that is left
// open there. It allocates nothing.
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

// isSegment reports whether a text may stand for the * of an issuer: one path segment that is
// the same escaped and unescaped (unreserved characters of RFC 3986, section 2.3).
func isSegment(text string) bool {
	if text == "" || text == "." || text == ".." || len(text) > maxSegment {
		return false
	}
	for i := range len(text) {
		if !exchange.IsUnreserved(text[i]) {
			return false
		}
	}
	return true
}

// An IssuerName is a configured issuer: one, or all that differ in their last path segment.
type IssuerName struct {
	text   string
	issuer pattern
	Path   string  // of the issuer, without a slash at its end and without what is left open
	place  pattern // of its own document (OpenID Connect Discovery 1.0, section 4)
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
	name.place = pattern{before: name.Path + WellKnown}
	if name.issuer.open {
		name.place = pattern{before: u.Path, after: WellKnown, open: true}
	}
	return name, nil
}

// covers reports whether another issuer is one of this name's, or has its document where this
// one has it.
func (n IssuerName) covers(other IssuerName) bool {
	if other.issuer.open {
		return n.place == other.place
	}
	_, ok := n.place.match(other.place.before)
	return ok
}

// ValidateIssuers reports why issuers cannot be those of one OP: each must be an absolute https
// or http URL with a host, without query, fragment and user information; its last path segment
// may be *, which stands for any. They must share one origin, and none may be named twice. Its
// errors wrap ErrIssuer.
func ValidateIssuers(issuers ...string) error {
	_, err := NewOP(issuers...)
	return err
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
			switch {
			case before.text == name.text:
				return nil, fmt.Errorf("%w %q: it is given twice", ErrIssuer, text)
			case before.covers(name):
				return nil, fmt.Errorf("%w %q: %q stands for it already", ErrIssuer, text, before.text)
			case name.covers(before):
				return nil, fmt.Errorf("%w %q: %q stands for it already", ErrIssuer, before.text, text)
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

// parseDiscoveryPath reads the path of a discovery document that is not at its issuer's own
// place. One of its segments may be *.
func parseDiscoveryPath(path string) (pattern, error) {
	if path == "" {
		return pattern{}, fmt.Errorf("%w: it is empty", ErrPath)
	}
	if err := ValidatePath("discovery", strings.ReplaceAll(path, "*", "x")); err != nil {
		return pattern{}, err
	}
	before, after, open := strings.Cut(path, "*")
	if open && (!strings.HasSuffix(before, "/") || after != "" && after[0] != '/' || strings.Contains(after, "*")) {
		return pattern{}, fmt.Errorf("discovery: %w %q: a * may only be one whole segment of it", ErrPath, path)
	}
	return pattern{before, after, open}, nil
}

// parseDiscoveryPaths reads the paths of an OP's documents. Its errors wrap ErrPath.
func parseDiscoveryPaths(paths []string) (places []pattern, err error) {
	for i, path := range paths {
		place, err := parseDiscoveryPath(path)
		if err != nil {
			return nil, err
		}
		if slices.Contains(paths[:i], path) {
			return nil, fmt.Errorf("discovery: %w %q: it is given twice", ErrPath, path)
		}
		places = append(places, place)
	}
	return places, nil
}

// ValidateDiscovery reports why an OP cannot have its documents at these paths.
func ValidateDiscovery(paths ...string) error {
	_, err := parseDiscoveryPaths(paths)
	return err
}

// ValidateDiscoveryAlone reports why an OP whose issuer is not configured cannot have its
// documents at these paths.
func ValidateDiscoveryAlone(paths []string) error {
	places, err := parseDiscoveryPaths(paths)
	if err == nil && len(places) > 0 && (&OP{places: places}).AskedPath() == "" {
		err = fmt.Errorf("discovery: %w %q: without an issuer, the OP must be asked at a path without *", ErrPath, paths[0])
	}
	return err
}

// HasSeveralIssuers reports whether the OP has, or may have, more issuers than one.
func (op *OP) HasSeveralIssuers() bool {
	return len(op.Names) > 1 || len(op.Names) == 1 && op.Names[0].issuer.open
}

// HasSeveralDocuments reports whether the OP has, or may have, more discovery documents than
// one, each with what is its own.
func (op *OP) HasSeveralDocuments() bool {
	return op.HasSeveralIssuers() || len(op.places) > 1 || len(op.places) == 1 && op.places[0].open
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

// ownPlace returns the path of an issuer's own document; empty: it is none of the OP's.
func (op *OP) ownPlace(issuer string) string {
	for _, name := range op.Names {
		if segment, ok := name.issuer.match(issuer); ok {
			return name.place.with(segment)
		}
	}
	return ""
}

// HasDocument reports whether a discovery document of the OP is at a path.
func (op *OP) HasDocument(path string) bool {
	if !strings.HasSuffix(path, WellKnown) && len(op.places) == 0 {
		return false // most requests
	}
	for _, name := range op.Names {
		if _, ok := name.place.match(path); ok {
			return true
		}
	}
	return slices.ContainsFunc(op.places, func(place pattern) bool {
		_, ok := place.match(path)
		return ok
	})
}

// DocumentFor returns the issuer whose discovery document or keys are at a path, as far as the
// path says it; ok is false where there are none.
func (op *OP) DocumentFor(path string) (issuer string, ok bool) {
	for _, name := range op.Names {
		if segment, ok := name.place.match(path); ok {
			return name.issuer.with(segment), true
		}
	}
	if view := op.KeysAt(path); view != nil {
		return view.DocumentIssuer, true
	}
	return op.DocumentIssuer, op.HasDocument(path)
}

// AskedPath is where the OP is asked for a document; empty: the configuration does not say where
// one is. Clients find it out.
func (op *OP) AskedPath() string {
	places := op.places
	if len(places) == 0 {
		places = op.allPlaces()
	}
	for _, place := range places {
		if !place.open {
			return place.before
		}
	}
	return ""
}

// As returns the OP as one of its issuers has it; nil: no document of that issuer was seen.
func (op *OP) As(issuer string) *OP {
	for _, view := range op.views {
		if view.DocumentIssuer == issuer {
			return view
		}
	}
	return nil
}

// byDocument returns the OP by the document at a path; nil: it was not seen.
func (op *OP) byDocument(path string) *OP {
	for _, view := range op.views {
		if view.DocumentPath == path {
			return view
		}
	}
	return nil
}

// hasSeen reports whether the document at a path is known, as far as an OP has several.
func (op *OP) hasSeen(path string) bool {
	return !op.HasSeveralDocuments() || op.byDocument(path) != nil
}

// at returns the OP whose document is at a path, for what that document says.
func (op *OP) at(path string) *OP {
	at := *op
	at.views, at.guessed, at.DiscoveryPath = nil, nil, path
	return &at
}

// maxViews is how many documents of one OP are known.
const maxViews = 64

// joined returns the OP by its latest document and those that were known before. Of too many,
// the one that was seen the longest time ago is forgotten.
func (op *OP) joined(before *OP) *OP {
	if !op.HasSeveralDocuments() {
		return op
	}
	view := *op
	view.views = nil
	all := *op
	all.views, all.guessed = []*OP{&view}, view.guesses()
	if before != nil {
		for _, other := range before.views {
			if other.DocumentPath != op.DocumentPath && len(all.views) < maxViews {
				all.views = append(all.views, other)
			}
		}
	}
	if all.DiscoveryPath == "" {
		all.DiscoveryPath = op.DocumentPath
	}
	return &all
}

// viewAt returns the OP by the document that has an endpoint at a path; nil: none has.
func (op *OP) viewAt(path string, endpoint func(*OP) string) *OP {
	if path == "" {
		return nil
	}
	if endpoint(op) == path {
		return op
	}
	for _, view := range op.views {
		if endpoint(view) == path {
			return view
		}
	}
	return nil
}

// IsTokenPath and IsPushedPath report whether a path is that of the OP's token or pushed
// authorization request endpoint.
func (op *OP) IsTokenPath(path string) bool {
	return op.viewAt(path, func(op *OP) string { return op.TokenPath }) != nil
}

// IsPushedPath is described at IsTokenPath.
func (op *OP) IsPushedPath(path string) bool {
	return op.viewAt(path, func(op *OP) string { return op.PushedPath }) != nil
}

// IsEndSessionPath reports whether a path is that of an end_session endpoint of the OP's own.
func (op *OP) IsEndSessionPath(path string) bool {
	return op.viewAt(path, func(op *OP) string { return op.EndSessionPath }) != nil
}

// KeysAt returns the OP by the document whose keys are at a path; nil: no keys are.
func (op *OP) KeysAt(path string) *OP {
	return op.viewAt(path, func(op *OP) string { return op.JWKSPath })
}

// A guess is where an endpoint of an issuer whose document was not seen may be: where that of
// another is, below its document.
type guess struct{ endpoint, document pattern }

// guesses are those by one document of the OP.
func (op *OP) guesses() (guesses []guess) {
	base, ok := strings.CutSuffix(op.DocumentPath, WellKnown)
	if !ok {
		return nil
	}
	for _, path := range []string{op.JWKSPath, op.EndSessionPath} {
		below, found := strings.CutPrefix(path, base+"/")
		if !found {
			continue
		}
		for _, place := range op.allPlaces() {
			if endpoint, ok := place.sibling("/" + below); ok {
				guesses = append(guesses, guess{endpoint, place})
			}
		}
	}
	return guesses
}

// sibling returns the pattern of what has another path than the well-known one below what a
// document is below.
func (p pattern) sibling(path string) (pattern, bool) {
	if p.open {
		after, ok := strings.CutSuffix(p.after, WellKnown)
		return pattern{p.before, after + path, true}, ok
	}
	before, ok := strings.CutSuffix(p.before, WellKnown)
	return pattern{before: before + path}, ok
}

// allPlaces are those of all of the OP's documents.
func (op *OP) allPlaces() []pattern {
	places := slices.Clone(op.places)
	for _, name := range op.Names {
		places = append(places, name.place)
	}
	return places
}

// unseen returns the path of a document that was not seen, for a request to what may well be an
// endpoint that it names; empty: the request is for none such. It allocates nothing unless it
// is.
func (op *OP) unseen(path string) string {
	for _, g := range op.guessed {
		if segment, ok := g.endpoint.match(path); ok {
			if document := g.document.with(segment); op.byDocument(document) == nil {
				return document
			}
		}
	}
	return ""
}

// HasPathBelow reports whether the path of one of the OP's issuers is a path, or below it.
func (op *OP) HasPathBelow(path string) bool {
	return slices.ContainsFunc(op.Names, func(name IssuerName) bool { return IsPathBelow(name.Path, path) })
}

// IsPathBelow reports whether a path is another one, or below it.
func IsPathBelow(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '/')
}
