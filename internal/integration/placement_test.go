package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

const (
	receivesNothing = "oidc_session receives no request"
	anothersHost    = "the site has not the issuer's host"
	pathsKeptAway   = "requests for own paths do not reach oidc_session"
	headersBroken   = "header directive outside of oidc_session breaks its responses"
)

var placementMessages = []string{receivesNothing, anothersHost, pathsKeptAway, headersBroken, insideAnother, locationLost}

// OIDC stands for the directive with the site's issuer.
func TestPlacementsThatCannotWorkAreLoggedAtStart(t *testing.T) {
	tests := map[string]struct {
		directives string
		want       string   // empty: none of the messages
		fields     []string // of the line
	}{
		"behind reverse_proxy in a route": {"route {\n\t\treverse_proxy localhost:1\n\t\tOIDC\n\t}", receivesNothing, []string{`"behind":"reverse_proxy"`}},
		"behind respond in a route":       {"route {\n\t\trespond ok\n\t\tOIDC\n\t}", receivesNothing, []string{`"behind":"respond"`}},
		"behind file_server in a route":   {"route {\n\t\tfile_server\n\t\tOIDC\n\t}", receivesNothing, []string{`"behind":"file_server"`}},
		"behind error in a route":         {"route {\n\t\terror 404\n\t\tOIDC\n\t}", receivesNothing, []string{`"behind":"error"`}},
		"behind a block that responds":    {"route {\n\t\troute {\n\t\t\trespond ok\n\t\t}\n\t\tOIDC\n\t}", receivesNothing, []string{`"behind":"respond"`}},
		"behind it, with the issuer discovered": {
			"route {\n\t\treverse_proxy localhost:1\n\t\toidc_session\n\t}", receivesNothing, []string{`"behind":"reverse_proxy"`},
		},
		"before reverse_proxy in a route":       {"route {\n\t\tOIDC\n\t\treverse_proxy localhost:1\n\t}", "", nil},
		"after it without a route":              {"reverse_proxy localhost:1\n\tOIDC", "", nil},
		"behind a proxy for some paths":         {"route {\n\t\treverse_proxy /api/* localhost:1\n\t\tOIDC\n\t}", "", nil},
		"behind forward_auth":                   {"route {\n\t\tforward_auth localhost:1 {\n\t\t\turi /x\n\t\t}\n\t\tOIDC\n\t\trespond ok\n\t}", "", nil},
		"behind a file_server that passes":      {"route {\n\t\tfile_server {\n\t\t\tpass_thru\n\t\t}\n\t\tOIDC\n\t}", "", nil},
		"behind early hints":                    {"route {\n\t\trespond 103\n\t\tOIDC\n\t}", "", nil},
		"behind a block for other hosts' paths": {"route {\n\t\t@other host other.localhost\n\t\trespond @other ok\n\t\tOIDC\n\t}", "", nil},
		"an error page of the site":             {"OIDC\n\trespond ok\n\thandle_errors {\n\t\trespond oops\n\t}", "", nil},

		"on an app's site": {"oidc_session {\n\t\tissuer https://elsewhere.example\n\t}\n\trespond ok", anothersHost, []string{`"host":"elsewhere.example"`}},
		"another port of the host": {
			"oidc_session {\n\t\tissuer http://op.localhost:1234\n\t}\n\trespond ok", "", nil,
		},

		"in a handle for other paths":   {"handle /auth/* {\n\t\tOIDC\n\t}", pathsKeptAway, []string{`"paths":["/.well-known/openid-configuration","/oidc/check-session"]`}},
		"with a matcher":                {"oidc_session /auth/* {\n\t\tissuer ISSUER\n\t\tend_session\n\t}", pathsKeptAway, []string{`"/oidc/end-session"`}},
		"a handle takes the check page": {"handle /oidc/* {\n\t\trespond ok\n\t}\n\thandle {\n\t\tREPLACE\n\t}", pathsKeptAway, []string{`"paths":["/oidc/check-session"]`}},
		"with not":                      {"@not not path /oidc/*\n\thandle @not {\n\t\tREPLACE\n\t}", pathsKeptAway, []string{`"paths":["/oidc/check-session"]`}},
		"with a pattern":                {"@x path_regexp ^/auth\n\toidc_session @x {\n\t\tissuer ISSUER\n\t}", pathsKeptAway, []string{`"/oidc/check-session"`}},
		"in handle_path without issuer's path": {
			"handle_path /auth/* {\n\t\tOIDC\n\t}", pathsKeptAway, []string{`"/oidc/check-session"`},
		},
		"in a handle for the issuer's path":    {"handle /auth/* {\n\t\tBELOW\n\t}", "", nil},
		"in handle_path for the issuer's path": {"handle_path /auth/* {\n\t\tBELOW\n\t}", "", nil},
		"behind strip_prefix":                  {"route {\n\t\turi strip_prefix /auth\n\t\tBELOW\n\t\trespond ok\n\t}", "", nil},
		"a stripped path, then a handle":       {"route {\n\t\turi strip_prefix /auth\n\t\thandle /oidc/* {\n\t\t\tBELOW\n\t\t}\n\t\thandle {\n\t\t\tBELOW\n\t\t}\n\t}", "", nil},
		"behind another rewrite":               {"route {\n\t\trewrite /auth{uri}\n\t\thandle /auth/* {\n\t\t\tOIDC\n\t\t}\n\t}", "", nil},
		"behind a rewrite of some":             {"route {\n\t\t@x header X y\n\t\turi @x strip_prefix /auth\n\t\thandle /auth/* {\n\t\t\tBELOW\n\t\t}\n\t}", "", nil},
		"a matcher that is not known":          {"@x expression `{path} == '/x'`\n\toidc_session @x {\n\t\tissuer ISSUER\n\t}", "", nil},
		"a matcher with a placeholder":         {"@x path {http.request.header.X}\n\toidc_session @x {\n\t\tissuer ISSUER\n\t}", "", nil},
		"a matcher for all that it needs":      {"@x path /.well-known/* /oidc/* /auth/*\n\toidc_session @x {\n\t\tissuer ISSUER\n\t}", "", nil},
		"two handles for one issuer":           {"handle /x* {\n\t\tOIDC\n\t}\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"a check page that the OP may have":    {"@x path /.well-known/* /auth/*\n\toidc_session @x {\n\t\tissuer ISSUER\n\t}", "", nil},
		"a check page for the OP's": {
			"@x path /.well-known/* /auth/*\n\toidc_session @x {\n\t\tissuer ISSUER\n\t\tsession_state replace\n\t}", pathsKeptAway, []string{`"paths":["/oidc/check-session"]`},
		},
		"a check page where it is let through":  {"@x path /.well-known/* /auth/*\n\toidc_session @x {\n\t\tissuer ISSUER\n\t\tcheck_session /auth/check\n\t}", "", nil},
		"documents at paths of their own":       {"handle /auth/* {\n\t\toidc_session {\n\t\t\tissuer ISSUER\n\t\t\tdiscovery /auth/doc\n\t\t\tcheck_session /auth/check\n\t\t}\n\t}", "", nil},
		"issuers with a segment that is open":   {"handle /o/* {\n\t\toidc_session {\n\t\t\tissuer ISSUER/o/*/\n\t\t}\n\t}", "", nil},
		"the issuer's path in capital letters":  {"handle /AUTH/* {\n\t\tBELOW\n\t}", "", nil},
		"an invoked route":                      {"invoke op", "", nil},
		"an invoked route that responds before": {"route {\n\t\tinvoke op\n\t\trespond ok\n\t}", "", nil},

		"a deferred X-Frame-Options":             {"header >X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["X-Frame-Options"]`}},
		"a default X-Frame-Options":              {"header ?X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["X-Frame-Options"]`}},
		"a deferred policy":                      {"route {\n\t\theader >Content-Security-Policy \"frame-ancestors 'none'\"\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Content-Security-Policy"]`}},
		"a policy that is deleted":               {"route {\n\t\theader -Content-Security-Policy\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Content-Security-Policy"]`}},
		"caching":                                {"route {\n\t\theader >Cache-Control \"max-age=3600\"\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Cache-Control"]`}},
		"cookies and redirects that are deleted": {"route {\n\t\theader {\n\t\t\t-Set-Cookie\n\t\t\t-Location\n\t\t}\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Location","Set-Cookie"]`}},
		"cookies that scripts cannot read":       {"route {\n\t\theader >Set-Cookie (.*) \"$1; HttpOnly\"\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Set-Cookie"]`}},
		"with the issuer discovered":             {"route {\n\t\theader >X-Frame-Options DENY\n\t\toidc_session\n\t}", headersBroken, []string{`"fields":["X-Frame-Options"]`}},
		"header in its usual place":              {"header >X-Frame-Options DENY\n\tOIDC\n\trespond ok", "", nil},
		"header that is not deferred":            {"header X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"a default policy":                       {"header ?Content-Security-Policy \"default-src 'self'\"\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"header after it in a handle":            {"handle {\n\t\theader >X-Frame-Options DENY\n\t\tOIDC\n\t}", "", nil},
		"framing by some apps":                   {"route {\n\t\theader >Content-Security-Policy \"frame-ancestors https://*.example.com\"\n\t\tOIDC\n\t}", "", nil},
		"a policy that only upgrades requests":   {"route {\n\t\theader >Content-Security-Policy upgrade-insecure-requests\n\t\tOIDC\n\t}", "", nil},
		"a policy for scripts":                   {"route {\n\t\theader >Content-Security-Policy \"default-src 'self'\"\n\t\tOIDC\n\t}", headersBroken, []string{`"fields":["Content-Security-Policy"]`}},
		"a policy that allows scripts":           {"route {\n\t\theader >Content-Security-Policy \"default-src 'none'; script-src 'self' 'unsafe-inline'\"\n\t\tOIDC\n\t}", "", nil},
		"a policy that is added":                 {"route {\n\t\theader {\n\t\t\t+Content-Security-Policy upgrade-insecure-requests\n\t\t\tdefer\n\t\t}\n\t\tOIDC\n\t}", "", nil},
		"no caching in other words":              {"route {\n\t\theader >Cache-Control \"private, max-age=0, must-revalidate\"\n\t\tOIDC\n\t}", "", nil},
		"caching only after revalidation":        {"route {\n\t\theader >Cache-Control no-cache\n\t\tOIDC\n\t}", "", nil},
		"X-Frame-Options deleted":                {"header -X-Frame-Options\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"header for other paths":                 {"header /app/* >X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"header for all but the check page":      {"@x not path /oidc/check-session\n\theader @x >X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"header for requests of some kind":       {"@x header X y\n\theader @x >X-Frame-Options DENY\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"other deferred fields":                  {"header {\n\t\t-Server\n\t\t>Strict-Transport-Security max-age=1\n\t}\n\thandle {\n\t\tOIDC\n\t}", "", nil},
		"cookies made secure":                    {"route {\n\t\theader >Set-Cookie (.*) \"$1; Secure\"\n\t\tOIDC\n\t}", "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			directives := strings.NewReplacer(
				"OIDC", "oidc_session {\n\t\tissuer ISSUER\n\t}", "REPLACE", "oidc_session {\n\t\tissuer ISSUER\n\t\tsession_state replace\n\t}",
				"BELOW", "oidc_session {\n\t\tissuer ISSUER/auth\n\t}",
			).Replace(tt.directives)
			config := site.caddyfile("", directives)
			if strings.Contains(directives, "invoke") {
				named := "&(op) {\n\toidc_session {\n\t\tissuer " + site.issuer + "\n\t}\n}\n"
				config = strings.Replace(config, "}\nhttp:", "}\n"+named+"http:", 1)
			}
			log := runLogged(t, t.TempDir(), config)
			if tt.want != "" {
				for _, text := range append(tt.fields, `"level":"warn"`, `"site":"op.localhost"`, `"advice":`) {
					if line := lineWith(log, tt.want); !strings.Contains(line, text) {
						t.Errorf("%s: not in %q", text, line)
					}
				}
			}
			for _, message := range slices.DeleteFunc(slices.Clone(placementMessages), func(m string) bool { return m == tt.want }) {
				if log.has(message) {
					t.Errorf("logged: %s", lineWith(log, message))
				}
			}
		})
	}
}

// Which paths must come is known when the OP's document is: sign-ins, and the check page unless
// the OP has one of its own.
func TestPathsThatTheOPsDocumentNamesAreLookedAtOnce(t *testing.T) {
	ownPage := map[string]any{"check_session_iframe": "http://op.localhost/its-own-check"}
	tests := map[string]struct {
		matcher, options string
		members          map[string]any
		want             string // paths; empty: nothing is logged
	}{
		"sign-ins kept away":                    {"/.well-known/* /oidc/*", "issuer ISSUER", nil, `["/authorize"]`},
		"sign-ins kept away, issuer discovered": {"/.well-known/* /oidc/*", "", nil, `["/authorize"]`},
		"the check page kept away":              {"/.well-known/* /authorize", "issuer ISSUER", nil, `["/oidc/check-session"]`},
		"the OP has a check page":               {"/.well-known/* /authorize", "issuer ISSUER", ownPage, ""},
		"the OP's check page is replaced":       {"/.well-known/* /authorize", "issuer ISSUER\n\t\tsession_state replace", ownPage, `["/oidc/check-session"]`},
		"all that is needed":                    {"/.well-known/* /authorize /oidc/*", "issuer ISSUER", nil, ""},
		"all, issuer discovered":                {"/*", "", nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.members = tt.members
			log := runLogged(t, t.TempDir(), site.caddyfile("", "@some path "+tt.matcher+"\n\troute @some {\n\t\toidc_session {\n\t\t"+tt.options+"\n\t\t}\n\t}\n\t"+op.proxy()))
			for range 3 {
				newBrowser(t).get(site.issuer + documentPath)
			}
			log.expect(t, "provider metadata discovered")
			line := lineWith(log, pathsKeptAway)
			if want := min(len(tt.want), 1); strings.Count(log.String(), pathsKeptAway) != want || !strings.Contains(line, tt.want) {
				t.Errorf("logged %q, want %s", line, tt.want)
			}
		})
	}
}

// On both sites, as an import of the same lines does it; the one of the OP is silent.
func TestAnAppsSiteWithTheDirectiveIsNamed(t *testing.T) {
	site := newSite(t)
	config := site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t}") +
		fmt.Sprintf("http://app.localhost:%d {\n\tbind 127.0.0.1\n\toidc_session {\n\t\tissuer %s\n\t}\n}\n", site.port, site.issuer)
	log := runLogged(t, t.TempDir(), config)
	if line := lineWith(log, anothersHost); !strings.Contains(line, `"site":"app.localhost"`) || strings.Count(log.String(), anothersHost) != 1 {
		t.Errorf("logged: %q", line)
	}
}

func TestASiteWithoutADiscoveryDocumentLogsWhatToDo(t *testing.T) {
	tests := map[string]struct{ oidc, respond, advice string }{
		"an app's site, not found":   {"oidc_session", "respond 404", "put oidc_session on the site of the OP, not of an app"},
		"an app's site with a page":  {"oidc_session", "header Content-Type text/html\n\trespond <!doctype>", "put oidc_session on the site of the OP, not of an app"},
		"an issuer that is mistaken": {"oidc_session {\n\t\tissuer ISSUER/x\n\t}", "respond 404", "correct the issuer, or set discovery"},
		"a wall":                     {"oidc_session", "respond 403", "if the site refuses such requests, set op_address"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			log := runLogged(t, t.TempDir(), site.caddyfile("", tt.oidc+"\n\t"+tt.respond))
			for range 2 {
				newBrowser(t).get(site.issuer + "/?x=y")
			}
			message := "the OP's discovery document is refused"
			if line := lineWith(log, message); !strings.Contains(line, tt.advice) || strings.Count(log.String(), message) != 1 {
				t.Errorf("logged %q", line)
			}
		})
	}
}

// What we publish as examples must start without any of these lines.
func TestTheDocumentsExamplesAreWellPlaced(t *testing.T) {
	example, err := os.ReadFile(inRoot("Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	configs := append(blocks(readme(t), "caddyfile"), string(example))
	clients := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(clients, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range recipes(t) {
		configs = append(configs, blocks(text, "caddyfile")...)
	}
	for _, config := range configs {
		config = strings.ReplaceAll(config, "clients_file clients.json", "clients_file "+clients)
		if _, err := adapt(config); err != nil {
			continue // a part of one; that the others are valid is tested elsewhere
		}
		logged, has := placementNotices(t, config)
		if logged != "" {
			t.Errorf("logged %s for\n%s", logged, config)
		}
		if has {
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("only %d examples have the directive", checked)
	}
}

// placementNotices is what is logged at the start of our app in a configuration whose sites are only
// provisioned, and whether it has a handler of ours.
func placementNotices(t *testing.T, caddyfile string) (logged string, has bool) {
	t.Helper()
	log := newTextLog(t, t.Name())
	var config caddy.Config
	if err := json.Unmarshal(loggedTo(t, t.Name(), t.TempDir(), caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	config.AppsRaw["oidc_session_test_placement"] = json.RawMessage("{}")
	placementTestRun = func(app caddy.App) {
		has = true
		if err := app.Start(); err != nil {
			t.Error(err)
		}
	}
	if err := caddy.Validate(&config); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"site"`) {
			logged += line
		}
	}
	return logged, has
}

// placementTestRun gets our app once all handlers are provisioned.
var placementTestRun func(caddy.App)

type placementTestApp struct{}

func init() { caddy.RegisterModule(placementTestApp{}) }

func (placementTestApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oidc_session_test_placement", New: func() caddy.Module { return new(placementTestApp) }}
}

func (placementTestApp) Provision(ctx caddy.Context) error {
	if _, err := ctx.App("http"); err != nil {
		return err
	}
	if loaded, err := ctx.AppIfConfigured("oidc_session"); err == nil {
		placementTestRun(loaded.(caddy.App))
	}
	return nil
}

func (placementTestApp) Start() error { return nil }
func (placementTestApp) Stop() error  { return nil }

// lineWith is the first line of a log that has a text.
func lineWith(log *textLog, text string) string {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}
