package exchange

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A DocumentEdit edits a JSON document of the OP. One that cannot be edited passes as it came.
type DocumentEdit struct {
	// Edit returns the edited document, or fails.
	Edit func(document []byte) ([]byte, error)
	// Failed is called with why a document passes as it came.
	Failed func(error)
	// TooLarge is called when it is over MaxJSON; may be nil.
	TooLarge func()
	// AnyType has it edited whatever media type it has.
	AnyType bool
}

// Serve passes a request for the document on and edits the response.
//
// The OP is asked for the whole document in a form that can be read, whatever the client asked for:
// without a condition, a range or a content coding, and by GET, since the length and the validators
// of a response to HEAD depend on the body.
func (e DocumentEdit) Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return next.ServeHTTP(w, r)
	}
	whole := Unencoded(r)
	whole.Method = http.MethodGet
	for _, field := range []string{
		"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since",
		"If-Range", "Range",
	} {
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
				// conditions, ranges and HEAD
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
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

// A Member is a member of a JSON document.
type Member struct {
	Name string
	// Value is marshalled.
	Value any
	// Replace has it take the place of the OP's own; else that stays.
	Replace bool
}

// ErrNoDocument says that a document cannot be edited.
var ErrNoDocument = errors.New("it is no JSON object")

// A memberAt is where a member of an object stands in its document: from the end of what is before
// it to the end of its value.
type memberAt struct {
	name              string
	start, value, end int64
}

// membersOf returns where the members of a document are. It fails if that is no JSON object.
func membersOf(document []byte) (members []memberAt, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(document, &object); err != nil || object == nil {
		return nil, ErrNoDocument
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	_, _ = decoder.Token() // the brace; no error can come: the document was read as a whole
	for end := decoder.InputOffset(); decoder.More(); {
		m := memberAt{start: end}
		name, _ := decoder.Token()
		var value json.RawMessage
		_ = decoder.Decode(&value)
		end = decoder.InputOffset()
		m.name, _ = name.(string)
		m.value, m.end = end-int64(len(value)), end
		members = append(members, m)
	}
	return members, nil
}

// AddMembers writes members at the end of a document that has none of their names. All other bytes
// stay as they are, so that numbers, order and unknown members are kept exactly.
func AddMembers(document []byte, members []Member) ([]byte, error) {
	has, err := membersOf(document)
	if err != nil {
		return nil, err
	}
	var added []byte
	replaced := make(map[string][]byte)
	for _, m := range members {
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		is := func(own memberAt) bool { return own.name == m.Name }
		if slices.ContainsFunc(has, is) {
			if m.Replace {
				replaced[m.Name] = value
			}
			continue
		}
		added = fmt.Appendf(added, ",%q:%s", m.Name, value)
	}
	for _, own := range slices.Backward(has) {
		if value, ok := replaced[own.name]; ok {
			document = slices.Concat(document[:own.value], value, document[own.end:])
		}
	}
	if added == nil {
		return document, nil
	}
	if len(has) == 0 {
		added = added[1:] // no comma behind the brace
	}
	const space = " \t\r\n"
	open := bytes.TrimSuffix(bytes.TrimRight(document, space), []byte("}"))
	return slices.Concat(bytes.TrimRight(open, space), added, []byte("}")), nil
}

// RemoveMember returns a JSON object without the members of a name; all else stays as it was. found
// is false if there is none, or no object.
func RemoveMember(document []byte, name string) (edited []byte, found bool) {
	members, err := membersOf(document)
	if err != nil || len(members) == 0 {
		return nil, false
	}
	edited = slices.Clone(document[:members[0].start])
	first := true
	for _, m := range members {
		if m.name == name {
			found = true
			continue
		}
		kept := document[m.start:m.end]
		if first {
			kept = bytes.TrimPrefix(bytes.TrimLeft(kept, " \t\r\n"), []byte(","))
		}
		edited, first = append(edited, kept...), false
	}
	if !found {
		return nil, false
	}
	return append(edited, document[members[len(members)-1].end:]...), true
}
