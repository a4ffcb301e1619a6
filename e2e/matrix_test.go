package e2e

import "testing"

// placement is where an OP is, seen from the relying party "shop".
type placement string

const (
	crossSite placement = "another"
	sameSite  placement = "the same"
)

// domains are the registrable domains that an OP is in.
var domains = map[placement]string{crossSite: "provider.test", sameSite: "shop.test"}

// TestCompatibility runs each OP in each place in each browser, and writes down what a relying
// party with oidc-client-ts gets to know. docs/compatibility.md must say the same.
func TestCompatibility(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	results := newTable("OpenID Provider", "site", "third-party cookies", "signed in", "another user signs in", "sign-out",
		"not signed in, sign-in elsewhere")
	t.Run("matrix", func(t *testing.T) {
		inBothModes(t, func(t *testing.T, mode thirdPartyCookies) { runCells(t, mode, results) })
	})
	results.expectDocumented(t, "matrix", 2*len(providers)*len(domains))
}

// runCells runs the cells of one browser at the same time. Each has an OP host of its own, and so
// its own cookies.
func runCells(t *testing.T, mode thirdPartyCookies, results *table) {
	s := newSite(t)
	for _, op := range providers {
		s.addOP(t, op.host(crossSite), op)
		s.addOP(t, op.host(sameSite), op)
	}
	s.start(t)
	b := startBrowser(t, mode)
	for i, op := range providers {
		for j, where := range []placement{crossSite, sameSite} {
			t.Run(op.name+" in "+string(where)+" site", func(t *testing.T) {
				t.Parallel()
				c := &cell{op: op, site: s, browser: b, host: op.host(where), readable: where == sameSite || mode == allowed}
				found := c.run(t)
				results.add(append([]string{op.name, string(where), string(mode)}, found...), i, j, mode.order())
			})
		}
	}
}
