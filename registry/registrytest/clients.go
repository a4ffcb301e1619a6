package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (r *tester) putClient(id, uri, metadata string) {
	r.Helper()
	r.must(r.r.PutClient(r.Context(), issuer, registry.Client{ID: id, URI: uri, Metadata: []byte(metadata)}))
}

// client is what is recorded of one of the issuer's clients; empty: nothing.
func (r *tester) client(id string) string {
	r.Helper()
	client, found, err := r.r.Client(r.Context(), issuer, id)
	r.must(err)
	return described(client, found)
}

// clientAt is what is recorded of the issuer's client at a URI.
func (r *tester) clientAt(uri string) string {
	r.Helper()
	client, found, err := r.r.ClientAt(r.Context(), issuer, uri)
	r.must(err)
	return described(client, found)
}

func described(client registry.Client, found bool) string {
	if !found {
		return ""
	}
	return fmt.Sprintf("%s at %q: %s", client.ID, client.URI, client.Metadata)
}

var clientTests = []test{
	{"clients are recorded, replaced and deleted", func(t *testing.T, r *tester) {
		r.putClient("wiki", "", "{}")
		r.putClient("shop", "/register/shop", "{}")
		r.putClient("shop", "/register?id=shop", `{"a":1}`)
		equal(t, "shop", r.client("shop"), `shop at "/register?id=shop": {"a":1}`)
		equal(t, "at its URI", r.clientAt("/register?id=shop"), r.client("shop"))
		equal(t, "at the URI it had before", r.clientAt("/register/shop"), "")
		equal(t, "at no URI", r.clientAt(""), "")
		equal(t, "wiki", r.client("wiki"), `wiki at "": {}`)
		_, found, err := r.r.Client(t.Context(), issuer+"/tenant", "shop")
		r.must(err)
		_, foundAt, err := r.r.ClientAt(t.Context(), issuer+"/tenant", "/register?id=shop")
		r.must(err)
		equal(t, "another issuer's", found || foundAt, false)
		for range 2 { // the second time it is not there
			r.must(r.r.DeleteClient(t.Context(), issuer, "shop"))
		}
		equal(t, "shop after it was deleted", r.client("shop")+r.clientAt("/register?id=shop"), "")
		r.must(r.r.DeleteClient(t.Context(), issuer+"/tenant", "wiki"))
		equal(t, "wiki after deleting another issuer's", r.client("wiki"), `wiki at "": {}`)
	}},
	{"a URI stays that of the client who had it first", func(t *testing.T, r *tester) {
		r.putClient("shop", "/register/1", "{}")
		r.putClient("evil", "/register/1", "{}")
		equal(t, "at the URI", r.clientAt("/register/1"), `shop at "/register/1": {}`)
		equal(t, "the other", r.client("evil"), `evil at "": {}`)
		r.must(r.r.DeleteClient(t.Context(), issuer, "evil"))
		equal(t, "at the URI still", r.clientAt("/register/1"), `shop at "/register/1": {}`)
	}},
	{"no more are recorded than the bound", func(t *testing.T, r *tester) {
		const writers = 50
		var refused atomic.Int32
		var writing sync.WaitGroup
		for writer := range writers {
			writing.Go(func() {
				for i := writer; i < registry.MaxClients+2; i += writers {
					err := r.r.PutClient(t.Context(), issuer, registry.Client{ID: fmt.Sprint(i), Metadata: []byte("{}")})
					if errors.Is(err, registry.ErrInvalid) {
						refused.Add(1)
					} else if err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		equal(t, "refused", refused.Load(), 2)
		id := "1" // a replacement is none more
		if r.client(id) == "" {
			id = "101"
		}
		r.putClient(id, "", "replaced")
		r.must(r.r.DeleteClient(t.Context(), issuer, id))
		r.putClient("new", "", "{}")
	}},
	{"what is out of bounds is not recorded", func(t *testing.T, r *tester) {
		for name, client := range map[string]registry.Client{
			"no ID":         {Metadata: []byte("{}")},
			"a long ID":     {ID: long, Metadata: []byte("{}")},
			"a long URI":    {ID: "shop", URI: long, Metadata: []byte("{}")},
			"no metadata":   {ID: "shop"},
			"much metadata": {ID: "shop", Metadata: bytes.Repeat([]byte("x"), registry.MaxClient+1)},
		} {
			if err := r.r.PutClient(t.Context(), issuer, client); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		equal(t, "shop", r.client("shop"), "")
	}},
}
