package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

var long = strings.Repeat("x", registry.MaxString+1)

func TestFacts(t *testing.T) {
	two := servers(t, 2)
	for i, seen := range []registry.Facts{{Kid: 5, NoKid: 1}, {Kid: 3, Sid: 2}, {NoKid: 7, Discovery: "/discovery"}, {NoSid: 1}} {
		must(t, 0, two[i%2].Note(t.Context(), issuer, seen))
	}
	facts, err := two[0].Facts(t.Context(), issuer)
	equal(t, "facts", must(t, facts, err), registry.Facts{Kid: 5, NoKid: 7, Sid: 2, NoSid: 1, Discovery: "/discovery"})
	facts, err = two[0].Facts(t.Context(), issuer+"/tenant")
	equal(t, "another issuer's", must(t, facts, err), registry.Facts{})
	if err := two[0].Note(t.Context(), issuer, registry.Facts{Discovery: long}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("error is %v", err)
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration) registry.Time { return registry.At(w.clock.Now().Add(d)) }
	keep := func(until registry.Time, ids ...string) {
		t.Helper()
		var keys []registry.PublicKey
		for _, id := range ids {
			keys = append(keys, registry.PublicKey{ID: id, JWK: []byte(`{"kid":"` + id + `"}`), Until: until})
		}
		must(t, 0, w.KeepKeys(t.Context(), issuer, keys))
	}
	expect := func(what, want string) {
		t.Helper()
		keys, err := w.Keys(t.Context(), issuer)
		var ids []string
		for _, key := range must(t, keys, err) {
			equal(t, "key", string(key.JWK), `{"kid":"`+key.ID+`"}`)
			ids = append(ids, key.ID)
		}
		equal(t, what, strings.Join(ids, " "), want)
	}
	expect("none", "")
	day := at(24 * time.Hour)
	keep(day, "2", "1")
	keep(day.Add(24*time.Hour), "3", "1")
	keep(day-1000, "2") // it stays
	expect("in their order", "1 2 3")
	keys, err := w.Keys(t.Context(), issuer+"/tenant")
	equal(t, "another issuer's", len(must(t, keys, err)), 0)
	w.clock.Advance(24 * time.Hour)
	expect("after a day", "1 3")
	keep(at(-time.Second), "4")
	expect("one whose time is over", "1 3")
	w.clock.Advance(24 * time.Hour)
	expect("after two days", "")

	for i := range 100 {
		key := registry.PublicKey{ID: fmt.Sprintf("%03d", i), JWK: bytes.Repeat([]byte("x"), 2000), Until: at(time.Duration(100+i) * time.Hour)}
		must(t, 0, w.KeepKeys(t.Context(), issuer, []registry.PublicKey{key}))
	}
	keys, err = w.Keys(t.Context(), issuer)
	if must(t, len(keys), err) < 25 || keys[len(keys)-1].ID != "099" || keys[0].ID == "000" {
		t.Errorf("%d keys are left, from %s", len(keys), keys[0].ID)
	}
	for name, key := range map[string]registry.PublicKey{
		"no ID": {JWK: []byte("{}")}, "a long ID": {ID: long, JWK: []byte("{}")},
		"no key": {ID: "1"}, "a long key": {ID: "1", JWK: make([]byte, registry.MaxKey+1)},
	} {
		if err := w.KeepKeys(t.Context(), issuer, []registry.PublicKey{key}); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestRegisteredClients(t *testing.T) {
	w := newWorld(t)
	put := func(id, uri string) error {
		return w.Register(t.Context(), issuer, registry.Registered{ID: id, URI: uri, Metadata: []byte("{}")})
	}
	at := func(uri string) string {
		client, found, err := w.RegisteredAt(t.Context(), issuer, uri)
		if !must(t, found, err) {
			return ""
		}
		return client.ID
	}
	has := func(id string) bool {
		_, found, err := w.Registered(t.Context(), issuer, id)
		return must(t, found, err)
	}
	must(t, 0, put("wiki", ""))
	must(t, 0, put("shop", "/register/shop"))
	must(t, 0, put("shop", "/register?id=shop"))
	equal(t, "at its URI", at("/register?id=shop"), "shop")
	equal(t, "at the URI it had before", at("/register/shop"), "")
	equal(t, "at no URI", at(""), "")
	must(t, 0, put("evil", "/register?id=shop"))
	equal(t, "a URI stays the first's", at("/register?id=shop"), "shop")
	_, found, err := w.Registered(t.Context(), issuer+"/tenant", "shop")
	equal(t, "another issuer's", must(t, found, err), false)
	for range 2 { // the second time it is not there
		must(t, 0, w.Deregister(t.Context(), issuer, "shop"))
	}
	equal(t, "deleted", has("shop") || at("/register?id=shop") != "", false)
	must(t, 0, put("next", "/register?id=shop"))
	equal(t, "its URI is free", at("/register?id=shop"), "next")
	for name, client := range map[string]registry.Registered{
		"no ID": {Metadata: []byte("{}")}, "a long ID": {ID: long, Metadata: []byte("{}")},
		"a long URI": {ID: "1", URI: long, Metadata: []byte("{}")}, "no metadata": {ID: "1"},
		"much metadata": {ID: "1", Metadata: make([]byte, registry.MaxMetadata+1)},
	} {
		if err := w.Register(t.Context(), issuer, client); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestOfTooManyClientsThoseThatWereNeverUsedGiveWay(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand clients")
	}
	w := newWorld(t)
	put := func(id string) error {
		return w.Register(t.Context(), issuer, registry.Registered{ID: id, URI: "/" + id, Metadata: []byte("{}")})
	}
	// The sets are filled by hand: registering each counts them all.
	mark := func(set registry.Key, from, to int) {
		var marks []registry.Mark
		for i := from; i < to; i++ {
			marks = append(marks, registry.Mark{Set: set, Member: fmt.Sprint(i), Expires: w.clock.Now().Add(registry.IdleClient)})
		}
		edit := &registry.Edit{Key: "dx", Marks: marks, Rule: func([]byte) (*registry.Change, error) { return nil, nil }}
		must(t, 0, w.store.Store.Edit(t.Context(), edit))
	}
	has := func(id string) bool {
		_, found, err := w.Registered(t.Context(), issuer, id)
		return must(t, found, err)
	}
	const last = registry.MaxRegistered - 1
	must(t, 0, put("0"))
	mark(registry.RegisteredKey(issuer), 1, last)
	mark(registry.UsedKey(issuer), 1, last)
	must(t, 0, put(fmt.Sprint(last)))
	equal(t, "with as many as there may be", has("0"), true)
	mark(registry.UsedKey(issuer), last, last+1)
	must(t, 0, put("1")) // none more
	equal(t, "after one that is there", has("0"), true)
	must(t, 0, put("new"))
	equal(t, "the one that was never used", has("0"), false)
	j := w.aJoin(1)
	j.ClientID = "new"
	w.join(j)
	w.redeem(redeems(j, "alice", "1"))
	if err := put("newer"); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("error is %v", err)
	}
	equal(t, "the one that was used", has("new"), true)
	w.clock.Advance(registry.IdleClient)
	must(t, 0, put("newer"))
}

// addName adds a name of a cookie at the shop.
func (w *world) addName(name string, derived bool) {
	w.Helper()
	must(w, 0, w.AddCookieName(w.Context(), "shop.example.com", registry.CookieName{Name: name, Since: 1, Derived: derived}))
}

func (w *world) names() []registry.CookieName {
	w.Helper()
	names, err := w.CookieNames(w.Context(), "shop.example.com")
	return must(w, names, err)
}

func TestCookieNames(t *testing.T) {
	for name, test := range map[string]func(*world){
		"a name is known since it was first added": func(w *world) {
			since := registry.At(w.clock.Now())
			w.addName("session", false)
			w.clock.Advance(time.Hour)
			w.addName("session", false)
			w.addName("session", true) // what a sign-in has set stays so
			w.addName("later", true)
			equal(w, "names", fmt.Sprint(w.names()), fmt.Sprint([]registry.CookieName{
				{Name: "session", Since: since}, {Name: "later", Since: since.Add(time.Hour), Derived: true},
			}))
		},
		"a derived name that a sign-in sets is derived no longer": func(w *world) {
			since := registry.At(w.clock.Now())
			w.addName("session", true)
			w.clock.Advance(time.Hour)
			w.addName("session", false)
			w.addName("session", true)
			equal(w, "names", fmt.Sprint(w.names()), fmt.Sprint([]registry.CookieName{{Name: "session", Since: since}}))
		},
		"of too many, the oldest derived one is forgotten": func(w *world) {
			w.addName("first", false)
			for i := range registry.MaxNames + 5 {
				w.addName(fmt.Sprint("derived", i), true)
			}
			w.addName("last", false)
			names := w.names()
			equal(w, "names", len(names), registry.MaxNames)
			equal(w, "the first", names[0].Name, "first")
			equal(w, "the oldest derived", names[1].Name, "derived7")
			equal(w, "the last", names[registry.MaxNames-1].Name, "last")
		},
		"derived names displace none that sign-ins set": func(w *world) {
			for i := range registry.MaxNames {
				w.addName(fmt.Sprint("cookie", i), false)
			}
			before := fmt.Sprint(w.names())
			w.addName("derived", true)
			equal(w, "names", fmt.Sprint(w.names()), before)
		},
		"where none is derived, the oldest of all is forgotten": func(w *world) {
			for i := range registry.MaxNames + 5 {
				w.addName(fmt.Sprint("cookie", i), false)
			}
			names := w.names()
			equal(w, "names", len(names), registry.MaxNames)
			equal(w, "the oldest", names[0].Name, "cookie5")
		},
		"what changes nothing is written once a day": func(w *world) {
			written := 0
			w.store.edit = func(ctx context.Context, edits []*registry.Edit) error {
				rule := edits[0].Rule
				edits[0].Rule = func(old []byte) (*registry.Change, error) {
					change, err := rule(old)
					if change != nil {
						written++
					}
					return change, err
				}
				return w.store.Store.Edit(ctx, edits...)
			}
			for i := range registry.MaxNames {
				w.addName(fmt.Sprint("cookie", i), false)
			}
			written = 0
			again := func() {
				w.addName("cookie0", false)
				w.addName("derived", true)
			}
			again()
			equal(w, "written at once", written, 0)
			w.clock.Advance(24 * time.Hour)
			again()
			equal(w, "written a day later", written, 1)
		},
		"names that are added still are known for ever, others for a year": func(w *world) {
			w.addName("session", false)
			for range 3 {
				w.clock.Advance(360 * 24 * time.Hour)
				w.addName("session", false)
			}
			equal(w, "since", w.names()[0].Since, registry.At(w.clock.Now().Add(-3*360*24*time.Hour)))
			w.clock.Advance(366 * 24 * time.Hour)
			equal(w, "a year later", len(w.names()), 0)
		},
		"they are a site's, and have bounds": func(w *world) {
			w.addName("session", false)
			names, err := w.CookieNames(w.Context(), "wiki.example.com")
			equal(w, "another site's", len(must(w, names, err)), 0)
			w.addName(long[1:], false)
			for _, name := range []string{"", long} {
				err := w.AddCookieName(w.Context(), "shop.example.com", registry.CookieName{Name: name})
				if !errors.Is(err, registry.ErrInvalid) {
					w.Errorf("%d bytes: error is %v", len(name), err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(newWorld(t)) })
	}
}
