package integration

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
)

// A direct network ends at the handler and the OP behind it, without sockets. Each request takes some milliseconds of its clock.
type direct struct {
	t        *testing.T
	op       *scriptedOP
	pages    http.Handler // the OP's
	clock    *storetest.Clock
	handler  caddyhttp.MiddlewareHandler
	settings map[string]any // of the handler, beside those that all have
	unloaded func()         // releases the configuration that the handler is of
}

// newDirect returns a network with an OP at op.example, to be closed. Its browsers, its OP and its handler have one clock, which the
// test moves.
func newDirect(t *testing.T, as traits, settings map[string]any) *direct {
	clock := storetest.ClockAt(time.Now().Truncate(time.Hour).Add(time.Hour)) // to come: the registry's janitor has a clock of its own
	useClock(t, clock.Now)
	op := scriptOP("https://op.example")
	op.traits, op.now = as, clock.Now
	d := &direct{t: t, op: op, pages: op.mux(), clock: clock, settings: settings, unloaded: func() {}}
	d.load()
	return d
}

// reload loads the configuration anew, and only then releases the old one, as Caddy does.
func (d *direct) reload() {
	old := d.unloaded
	d.load()
	loaded := d.unloaded
	old()
	d.unloaded = loaded
}

// close releases the configuration.
func (d *direct) close() { d.unloaded() }

// loseRegistry ends the server with all that its registry knew, and starts it anew.
func (d *direct) loseRegistry() {
	d.unloaded()
	d.load()
}

func (d *direct) load() {
	d.t.Helper()
	config := &caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}}
	if testing.Verbose() {
		config.Logging = nil
	}
	provisioned, err := caddy.ProvisionContext(config)
	if err != nil {
		d.t.Fatal(err)
	}
	config.AppsRaw = caddy.ModuleMap{"oidc_session": json.RawMessage(`{"keys":["` + testKey + `"],"store":{"module":"memory"}}`)}
	ctx, cancel := caddy.NewContext(provisioned)
	upstream := map[string]any{"method": "GET", "path": d.op.at("/logout")}
	if shape := d.op.traits.signOut; shape == byNothing || shape == byNewValue || shape == byClearSiteData {
		upstream["success"] = []int{http.StatusOK} // no cookie that is gone shows it
	}
	settings := map[string]any{
		"issuers": []string{d.op.issuer}, "login_cookie": "login", "session_state": "replace",
		"end_session": map[string]any{"path": d.op.at(endSessionPage), "upstream": upstream},
	}
	maps.Copy(settings, d.settings)
	document, err := json.Marshal(settings)
	if err != nil {
		d.t.Fatal(err)
	}
	loaded, err := ctx.LoadModuleByID("http.handlers.oidc_session", document)
	if err != nil {
		cancel()
		d.t.Fatal(err)
	}
	d.handler, d.unloaded = loaded.(caddyhttp.MiddlewareHandler), cancel
}

// discover has a client fetch what the handler discovers, too: it asks for that in time of its own, while the clock jumps.
func (d *direct) discover() {
	d.t.Helper()
	client := d.browser()
	client.get(d.op.issuer + "/.well-known/openid-configuration")
	client.get(d.op.issuer + "/jwks")
}

// RoundTrip serves a request: the OP's, through the handler, or one for another host of the OP's.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.clock.Advance(7 * time.Millisecond)
	recorder := httptest.NewRecorder()
	served := r.Clone(r.Context())
	served.Host, served.RemoteAddr = r.URL.Host, "127.0.0.1:1"
	if served.Body == nil {
		served.Body = http.NoBody
	}
	if served.Host != strings.TrimPrefix(d.op.issuer, "https://") {
		d.pages.ServeHTTP(recorder, served)
	} else if err := d.serve(recorder, served); err != nil {
		return nil, err
	}
	response := recorder.Result()
	response.Request = r
	return response, nil
}

// endSessionPage is where the plugin's end_session endpoint is: where the login cookie is.
const endSessionPage = "/leave"

func (d *direct) serve(w http.ResponseWriter, r *http.Request) error {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	err := d.handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		d.pages.ServeHTTP(w, r)
		return nil
	}))
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		w.WriteHeader(failed.StatusCode)
		return nil
	}
	return err
}

// browser is a new browser on the network.
func (d *direct) browser() *browser { return newBrowserOver(d.t, d, d.clock.Now) }

func (d *direct) site() site { return site{issuer: d.op.issuer} }
