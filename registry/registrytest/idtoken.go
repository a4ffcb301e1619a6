package registrytest

import (
	"errors"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

var (
	rsa = registry.IDToken{Issuer: "https://op.example.com/shop/", Algorithm: "RS256"}
	ec  = registry.IDToken{Algorithm: "ES256"}
)

// owed is what the one notice that is due says of the client's ID tokens.
func (r *tester) owed(what string, want registry.IDToken) {
	r.Helper()
	due := r.due(start.Add(late))
	if len(due) != 1 {
		r.Fatalf("%s: %d notices", what, len(due))
	}
	equal(r.T, what, due[0].IDToken, want)
}

var idTokenTests = []test{
	{"issuer and algorithm of a client's ID tokens are in its notices, also after a try", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		redemption := identifies(join, "alice", "1")
		redemption.IDToken = rsa
		r.redeem(redemption)
		equal(t, "participation", r.participation(join.Fresh).IDToken, rsa)
		r.end(ending(join, registry.ReasonLogout))
		r.owed("at first", rsa)
		r.settle(at(1), registry.Outcome{ID: registry.NameNotice(session.ID, "shop", "alice", "1"), Due: at(2), Attempts: 1})
		r.owed("after a try", rsa)
	}},
	{"those of an authorization response, too", func(t *testing.T, r *tester) {
		join := told()
		join.Subject, join.IDToken = registry.Subject{Sub: "alice"}, rsa
		r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		r.owed("notice", rsa)
	}},
	{"the latest that is not empty counts, also for a subject that is known", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		redemption := identifies(join, "alice", "1")
		for _, redemption.IDToken = range []registry.IDToken{rsa, ec, {}} {
			r.redeem(redemption)
		}
		want := registry.IDToken{Issuer: rsa.Issuer, Algorithm: "ES256"}
		equal(t, "participation", r.participation(join.Fresh).IDToken, want)
		r.end(ending(join, registry.ReasonLogout))
		r.owed("notice", want)
	}},
	{"those of a code redeemed after the end are in its notice", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		redemption := identifies(join, "alice", "1")
		redemption.IDToken = ec
		r.redeem(redemption)
		r.owed("notice", ec)
	}},
	{"those of a code redeemed after the session was removed are in its notice", func(t *testing.T, r *tester) {
		join := told()
		join.Lifetime = minute
		r.join(join)
		r.expireTold(at(2))
		redemption := identifies(join, "alice", "1")
		redemption.IDToken, redemption.Now = ec, at(3)
		r.redeem(redemption)
		r.owed("notice", ec)
	}},
	{"the longest are recorded, longer ones are invalid", func(t *testing.T, r *tester) {
		longest := registry.IDToken{Issuer: long[:registry.MaxIDTokenIssuer], Algorithm: strings.Repeat("x", registry.MaxAlgorithm)}
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		redemption.IDToken = longest
		r.redeem(redemption)
		equal(t, "participation", r.participation(join.Fresh).IDToken, longest)
		for _, longer := range []registry.IDToken{{Issuer: longest.Issuer + "x"}, {Algorithm: longest.Algorithm + "x"}} {
			redemption.IDToken = longer
			if _, err := r.r.Redeem(t.Context(), redemption); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("redeem: got error %v", err)
			}
			join := aJoin()
			join.IDToken = longer
			if _, err := r.r.Join(t.Context(), join); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("join: got error %v", err)
			}
		}
	}},
}
