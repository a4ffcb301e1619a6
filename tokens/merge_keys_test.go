package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestMergeKeysAppendsToTheOPs(t *testing.T) {
	ours := []PublishedKey{{ID: "a", JWK: json.RawMessage(`{"kid":"a"}`)}, {ID: "b", JWK: json.RawMessage(`{"kid":"b"}`)}}
	for name, tt := range map[string]struct{ document, want string }{
		"behind the OP's":        {`{"keys":[{"kid":"1","n":1e400}]}`, `{"keys":[{"kid":"1","n":1e400},{"kid":"a"},{"kid":"b"}]}`},
		"into an empty set":      {`{ "keys" : [ ] }`, `{ "keys" : [ {"kid":"a"},{"kid":"b"}] }`},
		"other members stay":     {`{"x":[{"keys":[]}],"keys":[{}],"y":"]"}`, `{"x":[{"keys":[]}],"keys":[{},{"kid":"a"},{"kid":"b"}],"y":"]"}`},
		"one that is there":      {`{"keys":[{"kid":"a"}]}`, `{"keys":[{"kid":"a"},{"kid":"b"}]}`},
		"a kid of another key":   {`{"keys":[{"kid":"b","kty":"RSA"}]}`, `{"keys":[{"kid":"b","kty":"RSA"},{"kid":"a"}]}`},
		"elements of other kind": {`{"keys":[1,null,"a"]}`, `{"keys":[1,null,"a",{"kid":"a"},{"kid":"b"}]}`},
	} {
		merged, err := MergeKeys([]byte(tt.document), ours)
		if err != nil || string(merged) != tt.want {
			t.Errorf("%s: %s, %v", name, merged, err)
		}
	}
}

// Neither the order of members nor additional ones make another key of the OP's.
func TestAKeyThatTheOPHasIsNotAddedAgain(t *testing.T) {
	ours := must(ParseSigningKeys(jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "1"}))).Published()
	for name, change := range map[string]func(members map[string]any){
		"in another order":    func(map[string]any) {},
		"with key_ops":        func(members map[string]any) { members["key_ops"] = []string{"verify"} },
		"without alg":         func(members map[string]any) { delete(members, "alg") },
		"by another kid":      func(members map[string]any) { members["kid"] = "another" },
		"without a kid":       func(members map[string]any) { delete(members, "kid") },
		"with x5c of its own": func(members map[string]any) { members["x5c"] = []string{"a certificate"} },
	} {
		var members map[string]any
		if err := json.Unmarshal(ours[0].JWK, &members); err != nil {
			t.Fatal(err)
		}
		change(members)
		document := `{"keys":[` + string(must(json.Marshal(members))) + `]}`
		if merged, err := MergeKeys([]byte(document), ours); err != nil || string(merged) != document {
			t.Errorf("%s: %s, %v", name, merged, err)
		}
	}
	other := `{"keys":[` + string(jwkOf(publicJWK(edTestKey(), "1", ""))) + `]}`
	if merged, err := MergeKeys([]byte(other), ours); err != nil || string(merged) != other {
		t.Errorf("another key by its kid: %s, %v", merged, err)
	}
}

func TestDocumentsThatAreNoKeySet(t *testing.T) {
	for _, document := range []string{"", "[]", "null", `"keys"`, `{}`, `{"keys":{}}`, `{"keys":null}`, `{"keys":[]`, `{"keys":[],"keys":[]}`, `{"keys":[]} {}`, `{"Keys":[]}`} {
		if merged, err := MergeKeys([]byte(document), nil); !errors.Is(err, ErrKeySet) {
			t.Errorf("%s: %s, %v", document, merged, err)
		}
	}
}

func FuzzMergeKeys(f *testing.F) {
	for _, document := range []string{`{"keys":[{"kid":"1"}]}`, `{"keys":[ ] , "a":[]}`, `{"keys":[],"keys":[1]}`} {
		f.Add([]byte(document))
	}
	ours := []PublishedKey{{ID: "ours", JWK: json.RawMessage(`{"kid":"ours"}`)}}
	f.Fuzz(func(t *testing.T, document []byte) {
		merged, err := MergeKeys(document, ours)
		if err != nil {
			return
		}
		before, after := keysOf(document), keysOf(merged)
		if len(after) < len(before) {
			t.Fatalf("%s became %s", document, merged)
		}
		for i, key := range before {
			if !bytes.Equal(key, after[i]) {
				t.Errorf("key %d is %s, and was %s", i, after[i], key)
			}
		}
		if added := len(after) - len(before); added > 1 {
			t.Errorf("%d keys were added", added)
		}
	})
}

// keysOf returns the elements of the member "keys", by its exact name.
func keysOf(document []byte) (keys []json.RawMessage) {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(document, &members)
	_ = json.Unmarshal(members["keys"], &keys)
	return keys
}
