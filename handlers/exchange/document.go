package exchange

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
)

// A DocumentEdit edits a JSON document of the OP. One that cannot be edited passes as it came.
type DocumentEdit struct {
	Edit     func(document []byte) ([]byte, error) // nil for "as it came"
	Failed   func(error)
	TooLarge func() // called when it is over maxJSON; nil: nobody is told
	AnyType  bool   // whatever media type it has
}

// Serve passes a request for the document on and edits the answer.
//
// The OP is asked for the whole document in a form that can be read, whatever the client asked
// for: without a condition, a range or a content coding, and by GET, since the length and the
// validators of an answer to HEAD depend on the body.
func (e DocumentEdit) Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return next.ServeHTTP(w, r)
	}
	whole := Unencoded(r)
	whole.Method = http.MethodGet
	for _, field := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"} {
		whole.Header.Del(field)
	}
	return Observe(w, whole, next, func(status int, header http.Header) *Hold {
		if status != http.StatusOK || !e.AnyType && !IsJSON(header) {
			return nil
		}
		return &Hold{
			Limit:    MaxJSON,
			Edit:     e.apply,
			tooLarge: e.TooLarge,
			serve: func(w http.ResponseWriter, body []byte) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body)) // conditions, ranges and HEAD
			},
		}
	})
}

// apply edits the document, and gives it a validator of its own.
func (e DocumentEdit) apply(header http.Header, body []byte) []byte {
	plain := e.ApplyPlain(header, body)
	if plain != nil {
		sum := sha256.Sum256(plain)
		header.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	}
	return plain
}

// ApplyPlain edits a document that no cache keeps.
func (e DocumentEdit) ApplyPlain(header http.Header, body []byte) []byte {
	plain, err := Decode(header, body, MaxJSON)
	if err == nil {
		plain, err = e.Edit(plain)
	}
	if err != nil {
		e.Failed(err)
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

// ErrNoDocument says that a document cannot be edited.
var ErrNoDocument = errors.New("it is no JSON object")

// AddMembers writes members at the end of a document that has none of their names. All other bytes
// stay as they are, so that numbers, order and what is unknown here are kept exactly.
func AddMembers(document []byte, members []Member) ([]byte, error) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, ErrNoDocument
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

// RemoveMember returns a JSON object without the members of a name, all else to the letter as it
// was. found is false where there is none, or no object.
func RemoveMember(document []byte, name string) (edited []byte, found bool) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, false
	}
	if _, found = has[name]; !found {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	_, _ = decoder.Token() // the brace; the document was read before, and is whole
	edited = slices.Clone(document[:decoder.InputOffset()])
	end, first := decoder.InputOffset(), true
	for decoder.More() {
		start := end
		var value json.RawMessage
		member, _ := decoder.Token()
		_ = decoder.Decode(&value)
		if end = decoder.InputOffset(); member == name {
			continue
		}
		kept := document[start:end]
		if first {
			kept = bytes.TrimPrefix(bytes.TrimLeft(kept, " \t\r\n"), []byte(","))
		}
		edited, first = append(edited, kept...), false
	}
	return append(edited, document[end:]...), true
}
