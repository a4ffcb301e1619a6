package oidcsession

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

// guardCaddyfile is a Caddyfile of an OP's site and an app's, whose oidc_guard has an option in line 9.
func guardCaddyfile(option string) string {
	return "http://op.localhost:8080 {\n\tbind 127.0.0.1\n\toidc_session\n}\n" +
		"http://app.localhost:8080 {\n\tbind 127.0.0.1\n\n\toidc_guard {\n\t\t" + option + "\n\t}\n\trespond ok\n}\n"
}

func TestOptionsOfTheGuardThatAreRight(t *testing.T) {
	t.Setenv("OIDC_TEST_COOKIE", "app-session")
	t.Setenv("OIDC_TEST_ISSUER", "http://op.localhost:8080")
	for _, option := range []string{
		"app_cookie app-session", "app_cookie a b __Host-c __Secure-d", "app_cookie {env.OIDC_TEST_COOKIE}",
		"app_cookie oidc_guard", "ignore_cookie csrftoken messages", "ignore_cookie {env.OIDC_TEST_COOKIE}",
		"on_logout strip", "on_logout 401", "on_logout redirect /signed-out", "on_logout redirect https://{host}/bye?from={uri}",
		"adopt 0", "adopt 0s", "adopt 90s", "adopt 7d", "adopt 400d",
		"close_streams on", "close_streams off", "clear_site_data", "on_store_error refuse", "on_store_error allow",
		"issuer http://op.localhost:8080", "issuer https://op.example.com https://op.example.com/o/*/", "issuer {env.OIDC_TEST_ISSUER}", "",
	} {
		if err := validate(t, guardCaddyfile(option)); err != nil {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func TestMistakesInOptionsOfTheGuardAreToldWithTheLine(t *testing.T) {
	t.Setenv("OIDC_TEST_EMPTY", "")
	t.Setenv("OIDC_TEST_BAD_COOKIE", "a b")
	t.Setenv("OIDC_TEST_BAD_ISSUER", "op.example.com")
	long := strings.Repeat("x", 5000)
	for name, tt := range map[string]struct {
		option, want string
		line         int // 0: when it is validated
	}{
		"a misspelt option":          {"on_logut strip", "unrecognized oidc_guard option 'on_logut': did you mean 'on_logout'?", 9},
		"an option in the plural":    {"app_cookies a", "unrecognized oidc_guard option 'app_cookies': did you mean 'app_cookie'?", 9},
		"an option that is another":  {"login_cookie a", "unrecognized oidc_guard option 'login_cookie'", 9},
		"a block in an option":       {"adopt 1h {\n\t\t\tx\n\t\t}", "unrecognized option 'x'", 10},
		"a block in clear_site_data": {"clear_site_data {\n\t\t\tx\n\t\t}", "unrecognized option 'x'", 10},
		"a block in on_logout":       {"on_logout 401 {\n\t\t\tx\n\t\t}", "unrecognized option 'x'", 10},

		"app_cookie without a name":          {"app_cookie", "wrong argument count", 9},
		"app_cookie twice":                   {"app_cookie a\n\t\tapp_cookie b", "app_cookie is given twice: write all on one line", 10},
		"app_cookie with an empty name":      {`app_cookie ""`, "app_cookie is empty", 9},
		"app_cookie that is none":            {"app_cookie a=b", "app_cookie: 'a=b' is no name of a cookie", 9},
		"app_cookie that is too long":        {"app_cookie " + long, "the name of a cookie is too long", 9},
		"app_cookie of ours":                 {"app_cookie a __Host-oidc_guard_01234567", "app_cookie: '__Host-oidc_guard_01234567' is a cookie of oidc_guard itself", 9},
		"app_cookie of a request":            {"app_cookie {host}", "has the placeholder {http.request.host} of a request", 9},
		"app_cookie of a misspelt namespace": {"app_cookie {envv.X}", "has the unknown placeholder {envv.X}", 9},
		"app_cookie of an empty variable":    {"app_cookie {env.OIDC_TEST_EMPTY}", "is empty", 0},
		"app_cookie of a variable with none": {"app_cookie {env.OIDC_TEST_BAD_COOKIE}", "'a b' is no name of a cookie", 0},
		"ignore_cookie without a name":       {"ignore_cookie", "wrong argument count", 9},
		"ignore_cookie twice":                {"ignore_cookie a\n\t\tignore_cookie a", "ignore_cookie is given twice", 10},
		"ignore_cookie that is none":         {`ignore_cookie "a b"`, "ignore_cookie: 'a b' is no name of a cookie", 9},
		"ignore_cookie of a variable":        {"ignore_cookie {env.OIDC_TEST_BAD_COOKIE}", "'a b' is no name of a cookie", 0},

		"on_logout without an action": {"on_logout", "wrong argument count", 9},
		"on_logout with three words":  {"on_logout redirect /a /b", "wrong argument count", 9},
		"on_logout twice":             {"on_logout strip\n\t\ton_logout 401", "on_logout is given twice", 10},
		"on_logout of another kind":   {"on_logout 403", "on_logout is '403', but must be strip, 401 or redirect", 9},
		"on_logout in capitals":       {"on_logout Strip", "on_logout is 'Strip', but must be strip, 401 or redirect", 9},
		"on_logout redirect nowhere":  {"on_logout redirect", "on_logout redirect needs a URL", 9},
		"on_logout redirect to \"\"":  {`on_logout redirect ""`, "on_logout redirect needs a URL", 9},
		"on_logout strip to a URL":    {"on_logout strip /x", "on_logout strip takes no URL", 9},
		"on_logout 401 to a URL":      {"on_logout 401 /x", "on_logout 401 takes no URL", 9},

		"adopt without a duration":  {"adopt", "wrong argument count", 9},
		"adopt with two":            {"adopt 1h 2h", "wrong argument count", 9},
		"adopt twice":               {"adopt 0\n\t\tadopt 0", "adopt is given twice", 10},
		"adopt that is no duration": {"adopt soon", "adopt: 'soon' is no duration, such as 24h, 7d or 0", 9},
		"adopt before now":          {"adopt -1h", "adopt is -1h0m0s, but must be 0 to 400 days", 9},
		"adopt for too long":        {"adopt 401d", "adopt is 9624h0m0s, but must be 0 to 400 days", 9},

		"close_streams alone":           {"close_streams", "wrong argument count", 9},
		"close_streams of another kind": {"close_streams no", "close_streams is 'no', but must be on or off", 9},
		"close_streams twice":           {"close_streams on\n\t\tclose_streams on", "close_streams is given twice", 10},
		"clear_site_data with a value":  {"clear_site_data on", "wrong argument count", 9},
		"clear_site_data twice":         {"clear_site_data\n\t\tclear_site_data", "clear_site_data is given twice", 10},

		"on_store_error alone":           {"on_store_error", "wrong argument count", 9},
		"on_store_error of another kind": {"on_store_error deny", "on_store_error is 'deny', but must be refuse or allow", 9},
		"on_store_error twice":           {"on_store_error allow\n\t\ton_store_error allow", "on_store_error is given twice", 10},
		"on_store_error of a variable":   {"on_store_error {env.OIDC_TEST_BAD_COOKIE}", "on_store_error is 'a b', but must be refuse or allow", 0},

		"issuer without a URL":       {"issuer", "wrong argument count", 9},
		"issuer twice":               {"issuer http://op.localhost\n\t\tissuer http://op.localhost", "issuer is given twice", 10},
		"issuer twice in a line":     {"issuer http://op.localhost http://op.localhost", `issuer "http://op.localhost" is given twice`, 9},
		"issuer without a scheme":    {"issuer op.example.com", "invalid issuer", 9},
		"issuer of a variable":       {"issuer {env.OIDC_TEST_BAD_ISSUER}", "invalid issuer", 0},
		"issuer of an empty one":     {"issuer {env.OIDC_TEST_EMPTY}", "is empty", 0},
		"issuer of a request's host": {"issuer https://{host}", "has the placeholder {http.request.host} of a request", 9},
	} {
		t.Run(name, func(t *testing.T) {
			expectMistake(t, validate(t, guardCaddyfile(tt.option)), tt.want, tt.line)
		})
	}
	t.Run("an argument of the directive", func(t *testing.T) {
		config := strings.Replace(guardCaddyfile(""), "oidc_guard {", "oidc_guard strip {", 1)
		if err := validate(t, config); err == nil {
			t.Error("accepted")
		}
	})
}

// Issuers of several OPs are not those of one: each may have an origin of its own.
func TestTheGuardTakesIssuersOfSeveralOPs(t *testing.T) {
	err := validate(t, guardCaddyfile("issuer https://id.example.com https://login.example.com"))
	if err != nil {
		t.Error(err)
	}
}

func TestTheGuardInJSONIsCheckedAsTheCaddyfileIs(t *testing.T) {
	for name, tt := range map[string]struct{ handler, want string }{
		"an action":          {`"on_logout":{"action":"drop"}`, "on_logout is 'drop', but must be strip, 401 or redirect"},
		"no action":          {`"on_logout":{}`, "on_logout is ''"},
		"a redirect":         {`"on_logout":{"action":"redirect"}`, "on_logout redirect needs a URL"},
		"a URL for nothing":  {`"on_logout":{"action":"401","url":"/x"}`, "on_logout 401 takes no URL"},
		"a name of a cookie": {`"app_cookies":["a b"]`, "app_cookie: 'a b' is no name of a cookie"},
		"an empty name":      {`"ignore_cookies":[""]`, "ignore_cookie: '' is no name of a cookie"},
		"adopt":              {`"adopt":"-1h"`, "adopt is -1h0m0s, but must be 0 to 400 days"},
		"on_store_error":     {`"on_store_error":"x"`, "on_store_error is 'x', but must be refuse or allow"},
		"an issuer":          {`"issuers":["x"]`, "invalid issuer"},
		"an unknown member":  {`"app_cookie":["a"]`, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			expectMistake(t, validateJSON(t, `{}`, `{"handler":"oidc_guard",`+tt.handler+`}`), tt.want, 0)
		})
	}
	for _, handler := range []string{
		`{"handler":"oidc_guard"}`,
		`{"handler": "oidc_guard", "app_cookies": ["app-session"], "on_logout": {"action": "strip"}, "adopt": "24h"}`,
		`{"handler":"oidc_guard","ignore_cookies":["a"],"on_logout":{"action":"redirect","url":"/bye"},"adopt":0,` +
			`"close_streams":false,"clear_site_data":true,"on_store_error":"allow","issuers":["https://op.example.com"]}`,
	} {
		if err := validateJSON(t, `{}`, handler); err != nil {
			t.Errorf("%s: %v", handler, err)
		}
	}
}

// What is left out has the defaults that the README names.
func TestTheGuardHasItsDefaults(t *testing.T) {
	day, zero, off := 24*time.Hour, time.Duration(0), false
	for option, want := range map[string]guard.Guard{
		"":                         {OnLogout: guard.Strip, Adopt: day, CloseStreams: true},
		"adopt 0":                  {OnLogout: guard.Strip, Adopt: zero, CloseStreams: true},
		"close_streams off":        {OnLogout: guard.Strip, Adopt: day, CloseStreams: off},
		"close_streams on":         {OnLogout: guard.Strip, Adopt: day, CloseStreams: true},
		"on_logout 401":            {OnLogout: guard.Deny, Adopt: day, CloseStreams: true},
		"on_logout redirect /x":    {OnLogout: guard.Redirect, RedirectURL: "/x", Adopt: day, CloseStreams: true},
		"on_store_error allow":     {OnLogout: guard.Strip, Adopt: day, CloseStreams: true, AllowUnknown: true},
		"on_store_error refuse":    {OnLogout: guard.Strip, Adopt: day, CloseStreams: true},
		"clear_site_data":          {OnLogout: guard.Strip, Adopt: day, CloseStreams: true, ClearSiteData: true},
		"adopt 7d":                 {OnLogout: guard.Strip, Adopt: 7 * day, CloseStreams: true},
		"on_logout strip":          {OnLogout: guard.Strip, Adopt: day, CloseStreams: true},
		"issuer https://a.example": {OnLogout: guard.Strip, Adopt: day, CloseStreams: true},
	} {
		made := guardOf(t, option)
		got := [...]any{made.OnLogout, made.RedirectURL, made.Adopt, made.CloseStreams, made.AllowUnknown, made.ClearSiteData}
		if got != [...]any{want.OnLogout, want.RedirectURL, want.Adopt, want.CloseStreams, want.AllowUnknown, want.ClearSiteData} {
			t.Errorf("%q gives %v", option, got)
		}
		if issuers := made.Issuers(); strings.HasPrefix(option, "issuer") && (len(issuers) != 1 || issuers[0] != "https://a.example") {
			t.Errorf("the issuers are %q", issuers)
		}
	}
}

func TestTheGuardIsAHandlerOfRoutes(t *testing.T) {
	var handler any = new(Guard)
	if _, ok := handler.(caddyhttp.MiddlewareHandler); !ok || (Guard{}).CaddyModule().ID != "http.handlers.oidc_guard" {
		t.Error("it is none")
	}
}

// A copy of the example may lose a site.
func TestTheExampleGuardsBothApps(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(".", "Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := adapt(string(example))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(adapted), `"handler":"oidc_guard"`); n != 2 {
		t.Errorf("%d sites are guarded", n)
	}
}

// guardOf returns the guard of a Caddyfile with one option.
func guardOf(t *testing.T, option string) *guard.Guard {
	t.Helper()
	g := new(Guard)
	if err := g.UnmarshalCaddyfile(caddyfile.NewTestDispenser("oidc_guard {\n" + option + "\n}")); err != nil {
		t.Fatal(err)
	}
	return g.provisioned(&App{run: running{sites: new(sites)}})
}
