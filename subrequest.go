package oidcsession

import (
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// prepareSubRequest gives a sub-request what Caddy gives every request, with the caller's
// variables, and the caller's placeholders wherever it has none of its own: `map`, `vars` and the
// like stand in front of us and have run for the caller only. Its client is the caller's, also
// where a proxy says who that is.
func prepareSubRequest(sub, caller *http.Request, w http.ResponseWriter) *http.Request {
	server, _ := caller.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	forwardClient(sub, caller, server)
	repl := caddy.NewReplacer()
	sub = caddyhttp.PrepareRequest(sub, repl, w, server)
	if parent, ok := caller.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		snapshot := parent.WithoutFile() // the caller may go on, and add to its own
		repl.Map(snapshot.Get)           // last: what the sub-request knows of itself comes first
	}
	own, _ := sub.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	inherited, _ := caller.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	merged := maps.Clone(inherited)
	for _, name := range []string{caddyhttp.ClientIPVarKey, caddyhttp.TrustedProxyVarKey} {
		if _, known := inherited[name]; known {
			delete(own, name)
		}
	}
	maps.Copy(merged, own)
	maps.Copy(own, merged)
	return sub
}

// forwardClient passes on where a proxy in front says who the client is. What is not believed of
// the caller is not believed of the sub-request: reverse_proxy decides for both by the same
// addresses.
func forwardClient(sub, caller *http.Request, server *caddyhttp.Server) {
	fields := []string{"X-Forwarded-For"}
	if server != nil {
		fields = append(fields, server.ClientIPHeaders...)
	}
	for _, field := range fields {
		if values := caller.Header.Values(field); len(values) > 0 {
			sub.Header[http.CanonicalHeaderKey(field)] = slices.Clone(values)
		}
	}
}
