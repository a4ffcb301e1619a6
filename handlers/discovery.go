package handlers

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// A Discovery adds to the OP's discovery document what is served in front of the OP (OpenID Connect Discovery 1.0, section 3).
type Discovery struct {
	// Learn is given each document that passes, with the OP and the request that it answers, and
	// returns the OP as it is known then; nil: the document is none of the OP's.
	Learn func(op *OP, r *http.Request, document []byte) *OP

	env Env
}

// Setup gives the handler its world.
func (d *Discovery) Setup(env Env) { d.env = env }

// Serve answers with the OP's document and the members added to it, each only where the OP has none. A document that cannot be
// read passes as it came.
func (d *Discovery) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, members func(*OP) []Member) error {
	return documentEdit{
		edit: func(document []byte) ([]byte, error) {
			if op = d.Learn(op, r, document); op == nil {
				return nil, nil
			}
			view, err := op.ofDocument(document)
			if err != nil {
				return nil, err
			}
			return addMembers(document, members(view))
		},
		failed: func(err error) {
			d.env.Logger.Warn("the OP's discovery document passes as it came", zap.String("issuer", op.Issuer), zap.Error(err))
		},
	}.serve(w, r, next)
}

// A documentEdit edits a JSON document of the OP. One that cannot be edited passes as it came.
type documentEdit struct {
	edit     func(document []byte) ([]byte, error) // nil for "as it came"
	failed   func(error)
	tooLarge func() // called when it is over maxJSON; nil: nobody is told
	anyType  bool   // whatever media type it has
}

// serve passes a request for the document on and edits the answer.
//
// The OP is asked for the whole document in a form that can be read, whatever the client asked for: without a condition, a
// range or a content coding, and by GET, since the length and the validators of an answer to HEAD depend on the body.
func (e documentEdit) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return next.ServeHTTP(w, r)
	}
	whole := unencoded(r)
	whole.Method = http.MethodGet
	for _, field := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"} {
		whole.Header.Del(field)
	}
	return observe(w, whole, next, func(status int, header http.Header) *hold {
		if status != http.StatusOK || !e.anyType && !isJSON(header) {
			return nil
		}
		return &hold{
			limit:    maxJSON,
			edit:     e.apply,
			tooLarge: e.tooLarge,
			serve: func(w http.ResponseWriter, body []byte) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body)) // conditions, ranges and HEAD
			},
		}
	})
}

// apply edits the document, and gives it a validator of its own.
func (e documentEdit) apply(header http.Header, body []byte) []byte {
	plain := e.applyPlain(header, body)
	if plain != nil {
		sum := sha256.Sum256(plain)
		header.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	}
	return plain
}

// applyPlain edits a document that no cache keeps.
func (e documentEdit) applyPlain(header http.Header, body []byte) []byte {
	plain, err := decoded(header, body, maxJSON)
	if err == nil {
		plain, err = e.edit(plain)
	}
	if err != nil {
		e.failed(err)
		return nil
	}
	return plain
}

// A Member is a member of the discovery document: its name, and a value that can be marshalled.
type Member struct {
	Name  string
	Value any
	// Replace: it takes the place of the OP's own. Else the OP's own stays.
	Replace bool
}

// Errors that keep a document from being edited.
var (
	errNoDocument    = errors.New("it is no JSON object")
	errForeignIssuer = errors.New("it is the document of another issuer")
)

// ofDocument returns the OP as the issuer of a document has it.
func (op *OP) ofDocument(document []byte) (*OP, error) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, errNoDocument
	}
	var named string
	if json.Unmarshal(has["issuer"], &named) != nil || !op.issues(named) {
		return nil, errForeignIssuer
	}
	if view := op.as(named); view != nil {
		return view, nil
	}
	view := *op
	view.issuer = named
	return &view, nil
}

// addMembers writes members at the end of a document that has none of their names. All other bytes stay as they are, so that
// numbers, order and what is unknown here are kept exactly.
func addMembers(document []byte, members []Member) ([]byte, error) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, errNoDocument
	}
	var added []byte
	for _, m := range members {
		if _, there := has[m.Name]; there && m.Replace {
			var err error
			if document, err = replaceMember(document, m); err != nil {
				return nil, err
			}
			continue
		} else if there {
			continue
		}
		member, err := json.Marshal(map[string]any{m.Name: m.Value})
		if err != nil {
			return nil, err
		}
		added = append(added, ',')
		added = append(added, member[1:len(member)-1]...)
	}
	if added == nil {
		return document, nil
	}
	const space = " \t\r\n"
	open := bytes.TrimRight(bytes.TrimSuffix(bytes.TrimRight(document, space), []byte("}")), space)
	if len(has) == 0 {
		added = added[1:] // no comma behind the brace
	}
	return slices.Concat(open, added, []byte("}")), nil
}

// replaceMember writes a member's value over the OP's own.
func replaceMember(document []byte, m Member) ([]byte, error) {
	value, err := json.Marshal(m.Value)
	if err != nil {
		return nil, err
	}
	var out []byte
	written := int64(0)
	decoder := json.NewDecoder(bytes.NewReader(document))
	_, err = decoder.Token() // the brace
	for err == nil && decoder.More() {
		var name json.Token
		var own json.RawMessage
		if name, err = decoder.Token(); err == nil {
			err = decoder.Decode(&own)
		}
		if end := decoder.InputOffset(); err == nil && name == m.Name {
			out = slices.Concat(out, document[written:end-int64(len(own))], value)
			written = end
		}
	}
	return append(out, document[written:]...), err
}
