package oidcsession

import (
	"maps"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// prepareSubRequest gives a sub-request what Caddy gives every request, with the caller's variables, and the caller's placeholders
// wherever it has none of its own: `map`, `vars` and the like stand in front of us and have run for the caller only.
func prepareSubRequest(sub, caller *http.Request, w http.ResponseWriter) *http.Request {
	server, _ := caller.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	sub = caddyhttp.PrepareRequest(sub, repl, w, server)
	if parent, ok := caller.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		snapshot := parent.WithoutFile() // the caller may go on, and add to its own
		repl.Map(snapshot.Get)           // last: what the sub-request knows of itself comes first
	}
	own, _ := sub.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	inherited, _ := caller.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	merged := maps.Clone(inherited)
	maps.Copy(merged, own)
	maps.Copy(own, merged)
	return sub
}
