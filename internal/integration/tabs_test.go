package integration

import (
	"net/url"
	"strings"
	"testing"
)

// twoTabs opens two tabs of a browser at the login page at once: both requests are sent before either is answered.
func twoTabs(b *browser, s site) (first, second *tab) {
	stale, catchUp := b.stale()
	first = stale.begin(s, "shop", again)
	second = b.begin(s, "wiki", again)
	catchUp()
	return first, second
}

func TestTwoTabsThatSignInAtOnceAreOneSession(t *testing.T) {
	for name, reversed := range map[string]bool{"in the order they were opened": false, "in the other order": true} {
		t.Run(name, func(t *testing.T) {
			b, site, op := directOP(t, traits{})
			first, second := twoTabs(b, site)
			if reversed {
				first, second = second, first
			}
			one, two := first.signIn("alice"), second.signIn("alice")
			b.redeem(site, two)
			b.redeem(site, one)
			b.expect(site, "in both tabs", "unchanged", one, two)
			if !b.matches(one) || !b.matches(two) {
				t.Error("the tabs have two browser states")
			}
			b.signOut(site, op)
			b.expect(site, "after sign-out", "changed", one, two)
		})
	}
}

func TestOfTwoUsersInTwoTabsTheLastStays(t *testing.T) {
	b, site, _ := directOP(t, traits{})
	first, second := twoTabs(b, site)
	bob := second.signIn("bob")
	alice := first.signIn("alice")
	b.redeem(site, alice)
	b.redeem(site, bob)
	b.expect(site, "after both", "unchanged", alice)
	b.expect(site, "after both", "changed", bob)
}

// A pollingRP polls and, on `changed`, asks again in a hidden frame with the ID token it has, as RPs do.
type pollingRP struct {
	b       *browser
	s       site
	user    string
	hint    string // the parameter that names the account; empty: id_token_hint
	idToken string
	answer  answer
	asked   int
}

func (rp *pollingRP) redeem(a answer) {
	_, token, _ := strings.Cut(rp.b.redeem(rp.s, a).body, `"id_token":"`)
	rp.idToken, _, _ = strings.Cut(token, `"`)
	rp.answer = a
}

func (rp *pollingRP) poll() {
	rp.b.t.Helper()
	frame := checkFrame{b: rp.b, s: rp.s, readable: true, answers: make(map[string]checked)}
	frame.poll(rp.answer) // its background question is answered for the next
	if word, _ := frame.poll(rp.answer); word != "changed" {
		return
	}
	rp.asked++
	query := url.Values{"prompt": {"none"}, "id_token_hint": {rp.idToken}}
	if rp.hint != "" {
		query = url.Values{"prompt": {"none"}, rp.hint: {rp.user}}
	}
	o := rp.b.frame().begin(rp.s, rp.answer.clientID, query)
	if !o.answered || o.answer.values.Has("error") {
		rp.b.t.Fatalf("the OP does not hold %s: %v", rp.user, o.answer.values)
	}
	rp.redeem(o.answer)
	if got := rp.s.userOf(rp.idToken); got != rp.user {
		rp.b.t.Fatalf("%s is answered for %s", got, rp.user)
	}
}

func (site) userOf(idToken string) string { return (*scriptedOP)(nil).userOf(subOf(idToken)) }

func TestTwoAccountsHeldAtOnceDoNotTakeTurns(t *testing.T) {
	tests := map[string]struct {
		as   traits
		hint string
	}{
		"chosen by id_token_hint":                     {as: traits{manyAccounts: true}},
		"chosen by a parameter":                       {as: traits{manyAccounts: true, fixedCookie: true}, hint: "login_hint"},
		"chosen by id_token_hint, pairwise subjects":  {as: traits{manyAccounts: true, pairwise: true}},
		"chosen by id_token_hint, with a hop between": {as: traits{manyAccounts: true, cookie: oneHopEarlier}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, site, _ := directOP(t, test.as)
			shop := &pollingRP{b: b, s: site, user: "alice", hint: test.hint}
			wiki := &pollingRP{b: b, s: site, user: "bob", hint: test.hint}
			shop.redeem(b.authorize(site, "shop", "alice", nil))
			wiki.redeem(b.authorize(site, "wiki", "bob", again))
			for range 6 {
				shop.poll()
				wiki.poll()
			}
			if shop.asked > 1 || wiki.asked > 0 {
				t.Errorf("for one change, alice's RP asks %d times and bob's %d", shop.asked, wiki.asked)
			}
			b.expect(site, "in the end", "unchanged", shop.answer, wiki.answer)
		})
	}
}
