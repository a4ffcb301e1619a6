package tokens

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// errMerge says that keys cannot be added to a document.
var errMerge = fmt.Errorf("%w: it must be a JSON object with one array \"keys\"", ErrKeySet)

// MergeKeys appends keys to the OP's JWK Set (RFC 7517, section 5). All other bytes stay as they
// are. It leaves out keys that the set has, and those whose kid another key has. Its errors wrap
// [ErrKeySet].
func MergeKeys(document []byte, keys []PublishedKey) (merged []byte, err error) {
	elements, end, err := keysMember(document)
	if err != nil {
		return nil, err
	}
	var added []byte
	for _, key := range keys {
		if has(elements, key) {
			continue
		}
		if len(elements) > 0 || added != nil {
			added = append(added, ',')
		}
		added = append(added, key.JWK...)
	}
	return slices.Concat(document[:end], added, document[end:]), nil
}

// has reports whether a set has the key, under any kid, or another key under its kid.
func has(elements []json.RawMessage, key PublishedKey) bool {
	own, _ := nameOf(key.JWK)
	for _, element := range elements {
		name, _ := nameOf(element)
		fits := name.Algorithm == "" || name.Algorithm == own.Algorithm
		if name.ID == key.ID && key.ID != "" || fits && same(element, key.JWK) {
			return true
		}
	}
	return false
}

// keysMember returns the elements of the array "keys", and the offset of its closing bracket.
func keysMember(document []byte) (elements []json.RawMessage, end int64, err error) {
	if !json.Valid(document) {
		return nil, 0, errMerge
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return nil, 0, errMerge
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, 0, errMerge
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, 0, errMerge
		}
		if name != "keys" {
			continue
		}
		repeated, isArray := end != 0, bytes.HasPrefix(value, []byte("["))
		if repeated || !isArray || json.Unmarshal(value, &elements) != nil {
			return nil, 0, errMerge
		}
		end = decoder.InputOffset() - 1
	}
	if end == 0 {
		return nil, 0, errMerge
	}
	return elements, end, nil
}
