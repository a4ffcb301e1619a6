package guard

import (
	"context"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Facts are what is known of a request.
type Facts struct {
	guard *Guard
	host  string
	ref   registry.Ref

	// Session is the ID of the session, in unpadded base64url; empty: the request has none that
	// lives.
	Session string
	// Refused are the names of the cookies that were refused, separated by commas.
	Refused string
}

// expose makes what is known of the request available to the handlers behind.
func (p *passage) expose() {
	if p.Expose == nil || p.session.IsZero() && len(p.refused) == 0 {
		return
	}
	facts := &Facts{guard: p.Guard, host: p.site.host, ref: registry.Ref{Session: p.session}}
	if !p.session.IsZero() {
		facts.Session = p.session.String()
	}
	var names []string
	for _, i := range p.refused {
		names = append(names, p.cookies[i].name)
	}
	facts.Refused = strings.Join(names, ",")
	p.Expose(p.request, facts)
}

// Subject returns the End-User (sub) that the session's ID tokens named for the app of this site,
// else for the first of its clients; empty: it is not known.
func (f *Facts) Subject(ctx context.Context) string {
	if f.Session == "" {
		return ""
	}
	_, session, err := f.guard.env.Registry.Resolve(ctx, f.ref)
	if err != nil || session == nil {
		return ""
	}
	for _, client := range session.Clients {
		for _, origin := range client.Origins {
			if n := len(client.Subjects); n > 0 && hostOf(authorityOf(origin)) == f.host {
				return client.Subjects[n-1].Sub
			}
		}
	}
	return handlers.UserOf(session)
}
