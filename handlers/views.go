package handlers

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// An OP may have several discovery documents: one for each of its issuers, or several of one. A
// view of it is the OP by one of them.

// maxViews is how many documents of one OP are remembered.
const maxViews = 64

// errForeignIssuer says that a document is not the OP's.
var errForeignIssuer = errors.New("it is the document of another issuer")

// HasSeveralDocuments reports whether the OP has, or may have, more discovery documents than one.
func (op *OP) HasSeveralDocuments() bool {
	return op.HasSeveralIssuers() || len(op.documentPaths) > 1 ||
		len(op.documentPaths) == 1 && op.documentPaths[0].open
}

// HasDocument reports whether a discovery document of the OP is at a path.
func (op *OP) HasDocument(path string) bool {
	if !strings.HasSuffix(path, WellKnown) && len(op.documentPaths) == 0 {
		return false // most requests
	}
	for _, name := range op.Names {
		if _, ok := name.document.match(path); ok {
			return true
		}
	}
	return slices.ContainsFunc(op.documentPaths, func(document pattern) bool {
		_, ok := document.match(path)
		return ok
	})
}

// DocumentFor returns the issuer whose discovery document or keys are at a path; empty: the path
// does not say whose. ok reports whether any are there.
func (op *OP) DocumentFor(path string) (issuer string, ok bool) {
	for _, name := range op.Names {
		if segment, ok := name.document.match(path); ok {
			return name.issuer.with(segment), true
		}
	}
	if view := op.KeysAt(path); view != nil {
		return view.DocumentIssuer, true
	}
	return op.DocumentIssuer, op.HasDocument(path)
}

// AskedPath is the path at which the OP is asked for a document; empty: the configuration does not
// name one. Then requests of clients show it.
func (op *OP) AskedPath() string {
	paths := op.documentPaths
	if len(paths) == 0 {
		paths = op.allDocumentPaths()
	}
	for _, path := range paths {
		if !path.open {
			return path.before
		}
	}
	return ""
}

// allDocumentPaths are those of all of the OP's documents.
func (op *OP) allDocumentPaths() []pattern {
	paths := slices.Clone(op.documentPaths)
	for _, name := range op.Names {
		paths = append(paths, name.document)
	}
	return paths
}

// ownDocumentPath returns the path of an issuer's own document; empty: the issuer is not one of
// the OP's.
func (op *OP) ownDocumentPath(issuer string) string {
	for _, name := range op.Names {
		if segment, ok := name.issuer.match(issuer); ok {
			return name.document.with(segment)
		}
	}
	return ""
}

// OfDocument returns the OP as the issuer of a document has it. It fails if the document is no JSON
// object, or that of another OP.
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

// As returns the OP as one of its issuers has it; nil: no document of that issuer was observed.
func (op *OP) As(issuer string) *OP {
	return op.viewWith(func(view *OP) bool { return view.DocumentIssuer == issuer })
}

// byDocument returns the OP by the document at a path; nil: it was not observed.
func (op *OP) byDocument(path string) *OP {
	return op.viewWith(func(view *OP) bool { return view.DocumentPath == path })
}

func (op *OP) viewWith(is func(view *OP) bool) *OP {
	if i := slices.IndexFunc(op.views, is); i >= 0 {
		return op.views[i]
	}
	return nil
}

// hasObserved reports whether the document at a path was observed, if the OP has several.
func (op *OP) hasObserved(path string) bool {
	return !op.HasSeveralDocuments() || op.byDocument(path) != nil
}

// at returns the OP as its configuration has it, to be asked for the document at a path.
func (op *OP) at(path string) *OP {
	at := *op
	at.views, at.guessed, at.DiscoveryPath = nil, nil, path
	return &at
}

// joined returns the OP by its latest document and those that were observed before. Of too many,
// the oldest is forgotten.
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

// IsTokenPath reports whether a path is that of a token endpoint of the OP.
func (op *OP) IsTokenPath(path string) bool {
	return op.viewAt(path, func(op *OP) string { return op.TokenPath }) != nil
}

// IsPushedPath reports whether a path is that of a pushed authorization request endpoint of the
// OP.
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

// viewAt returns the OP by the document that has an endpoint at a path; nil: none has. It allocates
// nothing.
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

// A guess is where an endpoint of an issuer whose document was not observed may be: where that of
// another issuer is, below its document.
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
		for _, document := range op.allDocumentPaths() {
			if endpoint, ok := document.sibling("/" + below); ok {
				guesses = append(guesses, guess{endpoint, document})
			}
		}
	}
	return guesses
}

// guessedDocument returns the path of a document that was not observed, for a request to what may
// well be an endpoint that it names; empty: there is no such document. It allocates only then.
func (op *OP) guessedDocument(path string) string {
	for _, g := range op.guessed {
		if segment, ok := g.endpoint.match(path); ok {
			if document := g.document.with(segment); op.byDocument(document) == nil {
				return document
			}
		}
	}
	return ""
}
