package integration

import (
	"slices"
	"strings"
	"testing"
)

const (
	insideAnother = "oidc_session is inside of another one for the same issuer"
	locationLost  = "the OP's redirects lose their Location behind oidc_session"
)

// OIDC stands for the directive with the site's issuer, PROXY for one to the OP with these lines in it.
func TestHandlersThatSpoilEachOtherAreLoggedAtStart(t *testing.T) {
	const (
		inHandle = `"option":"handle_response"`
		exclude  = "OIDC\n\tPROXY {\n\t\thandle_response {\n\t\t\tcopy_response_headers {\n\t\t\t\texclude location\n\t\t\t}\n\t\t\trespond 302\n\t\t}\n\t}"
	)
	tests := map[string]struct {
		directives string
		want       string // empty: none of the messages
		field      string
	}{
		"in a handle inside":                {"OIDC\n\thandle {\n\t\tOIDC\n\t}", insideAnother, `"advice":"remove one of the two: the inner one takes what the outer one adds for the OP's own"`},
		"in a handle inside, of paths":      {"OIDC\n\thandle /x* {\n\t\tOIDC\n\t}", insideAnother, ""},
		"in a route inside":                 {"route {\n\t\tOIDC\n\t\troute {\n\t\t\trespond /x ok\n\t\t\tOIDC\n\t\t}\n\t}", insideAnother, ""},
		"both without an issuer":            {"oidc_session\n\thandle {\n\t\toidc_session\n\t}", insideAnother, ""},
		"the outer one without an issuer":   {"oidc_session\n\thandle {\n\t\tOIDC\n\t}", insideAnother, ""},
		"one of two issuers":                {"oidc_session {\n\t\tissuer ISSUER/a ISSUER/b\n\t}\n\thandle {\n\t\toidc_session {\n\t\t\tissuer ISSUER/b\n\t\t}\n\t}", insideAnother, ""},
		"two handles":                       {"handle /x* {\n\t\tOIDC\n\t}\n\thandle {\n\t\tOIDC\n\t}", "", ""},
		"two handles inside of a route":     {"route {\n\t\thandle /x* {\n\t\t\tOIDC\n\t\t}\n\t\thandle {\n\t\t\tOIDC\n\t\t}\n\t}", "", ""},
		"one for some paths, one for all":   {"@x path /x*\n\thandle @x {\n\t\tOIDC\n\t}\n\troute {\n\t\trespond @x ok\n\t\tOIDC\n\t}", "", ""},
		"two OPs on a host":                 {"oidc_session {\n\t\tissuer ISSUER/a\n\t}\n\thandle {\n\t\toidc_session {\n\t\t\tissuer ISSUER/b\n\t\t}\n\t}", "", ""},
		"two OPs, one without an issuer":    {"oidc_session\n\thandle {\n\t\toidc_session {\n\t\t\tissuer ISSUER/b\n\t\t}\n\t}", "", ""},
		"one invoked in two handles":        {"handle /x* {\n\t\tinvoke op\n\t}\n\thandle {\n\t\tinvoke op\n\t}", "", ""},
		"the same issuer on another host":   {"@other host other.localhost\n\toidc_session @other {\n\t\tissuer ISSUER\n\t}\n\thandle {\n\t\tOIDC\n\t}", "", ""},
		"copy_response_headers exclude":     {exclude, locationLost, inHandle},
		"copy_response_headers include":     {strings.Replace(exclude, "exclude location", "include Set-Cookie Content-Type", 1), locationLost, inHandle},
		"in handles":                        {"handle {\n\t\t" + exclude + "\n\t}", locationLost, inHandle},
		"without a response behind it":      {strings.Replace(exclude, "respond 302", "", 1), locationLost, inHandle},
		"for redirects":                     {strings.Replace(exclude, "handle_response {", "@x status 3xx\n\t\thandle_response @x {", 1), locationLost, inHandle},
		"a page in place of redirects":      {"OIDC\n\tPROXY {\n\t\t@x status 302 303\n\t\thandle_response @x {\n\t\t\trespond ok\n\t\t}\n\t}", locationLost, inHandle},
		"header_down":                       {"OIDC\n\tPROXY {\n\t\theader_down -Location\n\t}", locationLost, `"option":"header_down"`},
		"header_down of another":            {"OIDC\n\tPROXY {\n\t\theader_down -Server\n\t\theader_down Location /a /b\n\t}", "", ""},
		"include has it":                    {strings.Replace(exclude, "exclude location", "include location", 1), "", ""},
		"another is excluded":               {strings.Replace(exclude, "exclude location", "exclude Server", 1), "", ""},
		"redir says it again":               {strings.Replace(exclude, "respond 302", "redir {rp.header.Location}", 1), "", ""},
		"header says it again":              {strings.Replace(exclude, "respond 302", "header Location {rp.header.Location}\n\t\t\trespond 302", 1), "", ""},
		"copy_response sends all":           {strings.Replace(exclude, "respond 302", "copy_response 302", 1), "", ""},
		"for pages that are missing":        {strings.Replace(exclude, "handle_response {", "@x status 404\n\t\thandle_response @x {", 1), "", ""},
		"for one of two redirects":          {strings.Replace(exclude, "handle_response {", "@x status 302\n\t\thandle_response @x {", 1), "", ""},
		"for X-Accel-Redirect":              {strings.Replace(exclude, "handle_response {", "@x header X-Accel-Redirect *\n\t\thandle_response @x {", 1), "", ""},
		"another status":                    {"OIDC\n\tPROXY {\n\t\treplace_status 200\n\t}", "", ""},
		"for other paths":                   {"OIDC\n\thandle /static/* {\n\t\t" + strings.TrimPrefix(exclude, "OIDC\n\t") + "\n\t}\n\thandle {\n\t\tPROXY\n\t}", "", ""},
		"before it":                         {"route {\n\t\t@x path /y\n\t\t" + strings.Replace(strings.TrimPrefix(exclude, "OIDC\n\t"), "PROXY", "reverse_proxy @x localhost:1", 1) + "\n\t\tOIDC\n\t\tPROXY\n\t}", "", ""},
		"a gate that goes on":               {"route {\n\t\t" + strings.Replace(exclude, "respond 302", "", 1) + "\n\t\tPROXY\n\t}", "", ""},
		"forward_auth":                      {"OIDC\n\tforward_auth localhost:1 {\n\t\turi /x\n\t\tcopy_headers X-User\n\t}\n\tPROXY", "", ""},
		"a proxy without any of it":         {"OIDC\n\tPROXY", "", ""},
		"php_fastcgi":                       {"OIDC\n\tphp_fastcgi localhost:1", "", ""},
		"on a site without an oidc_session": {strings.TrimPrefix(exclude, "OIDC\n\t"), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			config := site.caddyfile("", strings.NewReplacer("OIDC", "oidc_session {\n\t\tissuer ISSUER\n\t}", "PROXY", "reverse_proxy localhost:1").Replace(tt.directives))
			if strings.Contains(config, "invoke") {
				config = strings.Replace(config, "}\nhttp:", "}\n&(op) {\n\toidc_session {\n\t\tissuer "+site.issuer+"\n\t}\n}\nhttp:", 1)
			}
			log := runLogged(t, t.TempDir(), config)
			if tt.want != "" {
				line := lineWith(log, tt.want)
				for _, text := range []string{tt.field, `"level":"warn"`, `"site":"op.localhost"`, `"issuers":[`, `"advice":`} {
					if !strings.Contains(line, text) {
						t.Errorf("%s: not in %q", text, line)
					}
				}
				if strings.Count(log.String(), tt.want) != 1 {
					t.Errorf("not logged once:\n%s", log)
				}
			}
			for _, message := range slices.DeleteFunc([]string{insideAnother, locationLost}, func(m string) bool { return m == tt.want }) {
				if log.has(message) {
					t.Errorf("logged: %s", lineWith(log, message))
				}
			}
		})
	}
}
