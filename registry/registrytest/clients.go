package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (r *tester) putClient(id, uri, metadata string) {
	r.Helper()
	r.must(r.r.PutClient(r.Context(), issuer, registry.Client{ID: id, URI: uri, Metadata: []byte(metadata)}, start))
}

// register registers a client, some time after start.
func (r *tester) register(id string, after time.Duration) error {
	client := registry.Client{ID: id, URI: "/register/" + id, Metadata: []byte("{}")}
	return r.r.PutClient(r.Context(), issuer, client, start.Add(after))
}

// takesPart has a client take part in a session, some time after start.
func (r *tester) takesPart(id string, after time.Duration) error {
	join := aJoin()
	join.ClientID, join.Now = id, start.Add(after)
	_, err := r.r.Join(r.Context(), join)
	return err
}

// fillClients registers clients with the numbers below n for their IDs, in their order.
func (r *tester) fillClients(n int) {
	r.Helper()
	r.inParallel(n, func(i int) error { return r.register(fmt.Sprint(i), time.Duration(i-n)*time.Millisecond) })
}

// inParallel calls fn for the numbers below n, some at a time: stores commit those together.
func (r *tester) inParallel(n int, fn func(i int) error) {
	r.Helper()
	const callers = 64
	var calls sync.WaitGroup
	for caller := range callers {
		calls.Go(func() {
			for i := caller; i < n; i += callers {
				if err := fn(i); err != nil {
					r.Error(err)
				}
			}
		})
	}
	calls.Wait()
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
	{"where there are too many, those that never took part give way, the first to register first", func(t *testing.T, r *tester) {
		r.fillClients(registry.MaxClients)
		r.must(r.takesPart("0", 1))
		r.must(r.register("2", 1)) // a replacement is none more
		r.must(r.register("new", 1))
		equal(t, "new", r.client("new"), `new at "/register/new": {}`)
		equal(t, "the one that took part", r.client("0"), `0 at "/register/0": {}`)
		equal(t, "the next", r.client("1")+r.clientAt("/register/1"), "")
		equal(t, "after that", r.client("2"), `2 at "/register/2": {}`)
		recorded := 1
		for i := range registry.MaxClients {
			if r.client(fmt.Sprint(i)) != "" {
				recorded++
			}
		}
		equal(t, "recorded", recorded, registry.MaxClients)
	}},
	{"those that took part in nothing for 90 days give way, and no others", func(t *testing.T, r *tester) {
		const day = 24 * time.Hour
		r.fillClients(registry.MaxClients)
		r.inParallel(registry.MaxClients, func(i int) error {
			return r.takesPart(fmt.Sprint(i), time.Duration(i)*time.Millisecond)
		})
		r.must(r.takesPart("0", 2*day))
		r.must(r.takesPart("1", time.Hour)) // the same day: it is not noted
		if err := r.register("new", registry.IdleClient); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("too early: got error %v", err)
		}
		r.must(r.register("2", registry.IdleClient)) // which is no use of it
		r.must(r.register("new", registry.IdleClient+time.Millisecond))
		r.must(r.takesPart("new", registry.IdleClient+time.Millisecond))
		if err := r.register("newer", registry.IdleClient+time.Millisecond); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("another one: got error %v", err)
		}
		r.must(r.register("newer", registry.IdleClient+2*time.Millisecond))
		equal(t, "those that gave way", r.client("1")+r.client("2"), "")
		equal(t, "the one that took part later", r.client("0"), `0 at "/register/0": {}`)
		equal(t, "the next", r.client("3"), `3 at "/register/3": {}`)
	}},
	{"what is out of bounds is not recorded", func(t *testing.T, r *tester) {
		for name, client := range map[string]registry.Client{
			"no ID":         {Metadata: []byte("{}")},
			"a long ID":     {ID: long, Metadata: []byte("{}")},
			"a long URI":    {ID: "shop", URI: long, Metadata: []byte("{}")},
			"no metadata":   {ID: "shop"},
			"much metadata": {ID: "shop", Metadata: bytes.Repeat([]byte("x"), registry.MaxClient+1)},
		} {
			if err := r.r.PutClient(t.Context(), issuer, client, start); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		equal(t, "shop", r.client("shop"), "")
	}},
}
