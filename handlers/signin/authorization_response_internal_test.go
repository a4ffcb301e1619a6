package signin

import (
	"maps"
	"net/url"
	"testing"
)

func TestTheParametersOfALocation(t *testing.T) {
	tests := []struct {
		name, location string
		edited         string // with another parameter; "": there are none to be added to
	}{
		{"query", "https://rp/cb?code=c&state=s", "https://rp/cb?code=c&state=s&session_state=y"},
		{"error", "https://rp/cb?error=access_denied", "https://rp/cb?error=access_denied&session_state=y"},
		{"query with more", "https://rp/cb?tenant=1&code=c&iss=https%3A%2F%2Fop", "https://rp/cb?tenant=1&code=c&iss=https%3A%2F%2Fop&session_state=y"},
		{"fragment", "https://rp/cb#code=c&id_token=t", "https://rp/cb#code=c&id_token=t&session_state=y"},
		{"fragment behind a query", "https://rp/cb?tenant=1#id_token=t", "https://rp/cb?tenant=1#id_token=t&session_state=y"},
		{"query before a fragment", "https://rp/cb?code=c#_=_", "https://rp/cb?code=c&session_state=y#_=_"},
		{"query before an empty fragment", "https://rp/cb?code=c#", "https://rp/cb?code=c&session_state=y#"},
		{"query that ends in an ampersand", "https://rp/cb?code=c&", "https://rp/cb?code=c&&session_state=y"},
		{"custom scheme", "com.example.app:/cb?code=c", "com.example.app:/cb?code=c&session_state=y"},
		{"opaque", "com.example.app:cb?code=c", "com.example.app:cb?code=c&session_state=y"},
		{"unescaped", "https://rp/cb?code=c&state=a b'<>{}|^`\"", "https://rp/cb?code=c&state=a b'<>{}|^`\"&session_state=y"},
		{"other parameters twice", "https://rp/cb?code=c&scope=a&scope=b", "https://rp/cb?code=c&scope=a&scope=b&session_state=y"},
		{"the OP's own", "https://rp/cb?session_state=own&code=c&state=s", "https://rp/cb?code=c&state=s&session_state=y"},
		{"the OP's own, escaped, last", "https://rp/cb#id_token=t&session%5Fstate=own", "https://rp/cb#id_token=t&session_state=y"},
		{"the OP's own twice", "https://rp/cb?session_state=a&code=c&session_state=b", ""},
		{"none", "https://rp/cb", ""},
		{"others", "https://rp/cb?scope=a&iss=b", ""},
		{"none, with state", "https://rp/cb?state=s", "https://rp/cb?state=s&session_state=y"},
		{"none, in the fragment", "https://rp/cb#state=s&session_state=own", "https://rp/cb#state=s&session_state=y"},
		{"a state in the query, a code in the fragment", "https://rp/cb?state=own#code=c&state=s", "https://rp/cb?state=own#code=c&state=s&session_state=y"},
		{"in both", "https://rp/cb?code=c#id_token=t", ""},
		{"code twice", "https://rp/cb?code=c&code=d", ""},
		{"state twice", "https://rp/cb?code=c&state=s&state=s", ""},
		{"error twice", "https://rp/cb?error=a&error=b", ""},
		{"code twice in the fragment", "https://rp/cb#code=c&code=d", ""},
		{"code that is not readable", "https://rp/cb?code=%zz", ""},
		{"JARM", "https://rp/cb?response=eyJ", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, ok := readLocation(tt.location)
			if ok != (tt.edited != "") {
				t.Fatalf("got %+v, %v", p, ok)
			}
			if ok && p.with("y") != tt.edited {
				t.Errorf("got %s", p.with("y"))
			}
		})
	}
}

func FuzzReadLocation(f *testing.F) {
	for _, location := range []string{
		"https://rp/cb?code=c&state=s", "https://rp/cb?x=1#id_token=t", "https://rp/cb?code=c#_=_", "a:b?error=x", "?code=1",
		"https://rp/cb#code=c#code=d", "//rp?code=c;state=s", "https://rp/cb?code=%zz&error=", "\x00?code=\xff",
	} {
		f.Add(location, "hash.salt")
	}
	f.Fuzz(func(t *testing.T, location, value string) {
		p, ok := readLocation(location)
		if !ok {
			return
		}
		edited := p.with(value)
		if p.lead+p.raw+p.trailing != location {
			t.Fatalf("%q was read as %+v", location, p)
		}
		if !p.values.Has("session_state") && edited != p.lead+p.raw+"&session_state="+url.QueryEscape(value)+p.trailing {
			t.Fatalf("%q became %q", location, edited)
		}
		again, ok := readLocation(edited)
		if !ok {
			t.Fatalf("%q cannot be read any more", edited)
		}
		want := maps.Clone(p.values)
		want.Set("session_state", value)
		if again.values.Encode() != want.Encode() || again.lead != p.lead {
			t.Fatalf("%q has %v", edited, again.values)
		}
	})
}
