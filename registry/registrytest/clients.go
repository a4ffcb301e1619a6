package registrytest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (r *tester) putClient(id, metadata string) {
	r.Helper()
	r.must(r.r.PutClient(r.Context(), issuer, registry.Client{ID: id, Metadata: []byte(metadata)}))
}

// clients are the issuer's clients: their IDs and metadata.
func (r *tester) clients() (all []string) {
	r.Helper()
	clients, err := r.r.Clients(r.Context(), issuer)
	r.must(err)
	for _, client := range clients {
		all = append(all, client.ID+" "+string(client.Metadata))
	}
	return all
}

var clientTests = []test{
	{"clients are recorded, replaced and deleted", func(t *testing.T, r *tester) {
		r.putClient("wiki", "{}")
		r.putClient("shop", "{}")
		r.putClient("shop", `{"a":1}`)
		equalSlices(t, "clients", r.clients(), []string{`shop {"a":1}`, "wiki {}"})
		others, err := r.r.Clients(t.Context(), issuer+"/tenant")
		r.must(err)
		equal(t, "of another issuer", len(others), 0)
		for range 2 { // the second time it is not there
			r.must(r.r.DeleteClient(t.Context(), issuer, "shop"))
		}
		equalSlices(t, "clients left", r.clients(), []string{"wiki {}"})
		r.must(r.r.DeleteClient(t.Context(), issuer+"/tenant", "wiki"))
		equal(t, "clients after deleting another issuer's", len(r.clients()), 1)
	}},
	{"what is out of bounds is not recorded", func(t *testing.T, r *tester) {
		for name, client := range map[string]registry.Client{
			"no ID":         {Metadata: []byte("{}")},
			"a long ID":     {ID: long, Metadata: []byte("{}")},
			"no metadata":   {ID: "shop"},
			"much metadata": {ID: "shop", Metadata: bytes.Repeat([]byte("x"), registry.MaxClient+1)},
		} {
			if err := r.r.PutClient(t.Context(), issuer, client); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		equal(t, "clients", len(r.clients()), 0)
	}},
}
