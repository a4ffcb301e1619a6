package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fields are those of a line of the log, without what Caddy and zap add.
func fields(line map[string]any) string {
	line = maps.Clone(line)
	for _, name := range []string{"ts", "logger", "msg", "level"} {
		delete(line, name)
	}
	out, _ := json.Marshal(line)
	return string(out)
}

const clientsOfAllKinds = `
		client both {
			backchannel_logout_uri https://rp.example/back
			frontchannel_logout_uri https://rp.example/front
		}
		client nobody
		client old {
			backchannel_logout_uri https://old.example/back
			id_token_signed_response_alg HS256
		}`

func TestWhatASiteServesIsLoggedOnceItsOPIsDiscovered(t *testing.T) {
	tests := map[string]struct {
		traits traits
		site   string
		want   string // fields, after the endpoints
	}{
		"nothing but a check page": {
			traits{},
			"",
			`"backchannel_logout":"off","check_session":"/oidc/check-session","clients_not_notified":0,"clients_notified":0,` +
				`"end_session":"not served","frontchannel_logout":"off","issuer":"ISSUER","login_cookie":"none","not_notified":[],"op_has":[],` +
				`"session_state":"added, in place of the OP's"`,
		},
		"all of it": {
			traits{},
			"login_cookie login\n\t\tcheck_session /check\n\t\tend_session /sign-out\n\t\tsession_state keep" + clientsOfAllKinds,
			`"backchannel_logout":"on","check_session":"/check","clients_not_notified":2,"clients_notified":1,` +
				`"end_session":"/sign-out","frontchannel_logout":"on","issuer":"ISSUER","login_cookie":"login","not_notified":["nobody","old"],"op_has":[],` +
				`"session_state":"added where the OP sends none"`,
		},
		"an OP that has it all": {
			traits{ownCheckPage: true, notifiesClients: true, members: map[string]any{
				"end_session_endpoint": "https://elsewhere.example/", "frontchannel_logout_supported": true,
			}},
			"login_cookie login" + clientsOfAllKinds,
			`"backchannel_logout":"left to the OP","check_session":"left to the OP",` +
				`"end_session":"left to the OP","frontchannel_logout":"left to the OP","issuer":"ISSUER","login_cookie":"login",` +
				`"op_has":["backchannel_logout","check_session_iframe","end_session_endpoint","frontchannel_logout"],` +
				`"session_state":"left to the OP"`,
		},
		"an OP whose keys are elsewhere": {
			traits{members: map[string]any{"jwks_uri": "https://elsewhere.example/jwks"}},
			"session_state replace" + clientsOfAllKinds,
			`"backchannel_logout":"blocked","check_session":"/oidc/check-session","clients_not_notified":3,"clients_notified":0,` +
				`"end_session":"not served","frontchannel_logout":"off","issuer":"ISSUER","login_cookie":"none","not_notified":["both","nobody","old"],"op_has":[],` +
				`"session_state":"added, in place of the OP's"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits = tt.traits
			storage := t.TempDir()
			config := site.caddyfile("", "oidc_session {\n\t\t"+tt.site+"\n\t}\n\t"+op.proxy())
			log := runLogged(t, storage, config)
			b := newBrowser(t)
			document := func() { b.get(site.issuer + "/.well-known/openid-configuration") }
			document()
			document()
			b.authorize(site, "shop", "alice", nil)
			lines := log.lines(t, "provider metadata discovered")
			want := `{"authorization_endpoint":"/authorize",` + strings.ReplaceAll(tt.want, "ISSUER", site.issuer) + `,"token_endpoint":"/token"}`
			if len(lines) != 1 || lines[0]["level"] != "info" || fields(lines[0]) != want {
				t.Errorf("logged %d lines\n%s\nwant\n%s", len(lines), fields(lines[0]), want)
			}
			loadLoggedTo(t, t.Name(), storage, config)
			document()
			if n := len(log.lines(t, "provider metadata discovered")); n != 2 {
				t.Errorf("%d lines after a reload", n)
			}
		})
	}
}

// An OP with an issuer per client has many documents.
func TestWhatASiteServesIsLoggedOnceForAllDocumentsOfItsOP(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.issuers = perClient
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER/application/o/*/\n\t\tcheck_session /token\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	for _, client := range []string{"shop", "wiki"} {
		b.get(op.issuerOf(client) + ".well-known/openid-configuration")
		b.redeem(site, b.authorize(site, client, "alice", nil))
	}
	if n, m := len(log.lines(t, "provider metadata discovered")), len(log.lines(t, "path is an endpoint of the OP, which keeps it")); n != 1 || m != 1 {
		t.Errorf("logged %d and %d lines", n, m)
	}
}

func TestOfManyClientsTheLogNamesTheFirst(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	var list []map[string]string
	for i := range 100 {
		list = append(list, map[string]string{"client_id": fmt.Sprintf("app%02d", i)})
	}
	content, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tclients_file "+file+"\n\t}\n\t"+op.proxy()))
	newBrowser(t).get(site.issuer + "/.well-known/openid-configuration")
	line := log.lines(t, "provider metadata discovered")[0]
	named := line["not_notified"].([]any)
	if len(named) != 20 || named[0] != "app00" || line["clients_not_notified"] != 100.0 {
		t.Errorf("logged %v", line)
	}
}

// Mistakes that show when the OP's endpoints are known: the path of an option is one of them.
func TestAPathThatIsTheOPsOwnIsLeftToTheOP(t *testing.T) {
	tests := map[string]struct {
		members        map[string]any
		option         string
		path, endpoint string
		missing        string // in the document
		session        string // how the option is logged
	}{
		"check_session at the token endpoint":     {nil, "check_session /token", "/token", "token_endpoint", "check_session_iframe", "not served"},
		"check_session at the keys":               {nil, "check_session /jwks", "/jwks", "jwks_uri", "check_session_iframe", "not served"},
		"check_session at a document of the OP's": {map[string]any{"op_policy_uri": "ISSUER/about?x=y"}, "check_session /about", "/about", "op_policy_uri", "check_session_iframe", "not served"},
		"check_session at an endpoint nobody knows": {
			map[string]any{"x_endpoint": "ISSUER/oidc/check-session"}, "check_session /oidc/check-session", "/oidc/check-session", "x_endpoint", "check_session_iframe", "not served",
		},
		"check_session at the OP's check page": {
			map[string]any{"check_session_iframe": "ISSUER/oidc/check-session"}, "login_cookie login", "/oidc/check-session", "check_session_iframe", "", "left to the OP",
		},
		"end_session at the userinfo endpoint":  {map[string]any{"userinfo_endpoint": "ISSUER/me"}, "end_session /me", "/me", "userinfo_endpoint", "end_session_endpoint", "not served"},
		"end_session at the OP's end_session":   {map[string]any{"end_session_endpoint": "ISSUER/logout"}, "end_session /logout", "/logout", "end_session_endpoint", "", "left to the OP"},
		"the question at the OP's confirmation": {map[string]any{"x_endpoint": "ISSUER/bye/confirm"}, "end_session /bye", "/bye", "x_endpoint", "end_session_endpoint", "not served"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.members = maps.Clone(tt.members)
			for member, value := range op.traits.members {
				op.traits.members[member] = strings.ReplaceAll(value.(string), "ISSUER", site.issuer)
			}
			log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\t"+tt.option+"\n\t}\n\t"+op.proxy()))
			b := newBrowser(t)
			b.get(site.issuer + "/.well-known/openid-configuration")
			var document map[string]any
			if err := json.Unmarshal([]byte(b.get(site.issuer+"/.well-known/openid-configuration").body), &document); err != nil {
				t.Fatal(err)
			}
			if value, is := document[tt.missing]; is {
				t.Errorf("%s is said to be %v", tt.missing, value)
			}
			option, _, _ := strings.Cut(tt.option, " ")
			if tt.endpoint == "check_session_iframe" {
				option = "check_session"
			}
			lines := log.lines(t, "path is an endpoint of the OP, which keeps it")
			want := fmt.Sprintf(`{"advice":"give %s a path that the OP does not use","endpoint":%q,"option":%q,"path":%q}`, option, tt.endpoint, option, tt.path)
			if len(lines) != 1 || lines[0]["level"] != "warn" || fields(lines[0]) != want {
				t.Errorf("logged %v, want %s", lines, want)
			}
			if got := log.lines(t, "provider metadata discovered")[0][option]; got != tt.session {
				t.Errorf("%s is logged as %q", option, got)
			}
			for _, path := range []string{tt.path, tt.path + "/confirm"} {
				b.get(site.issuer + path)
				if op.asked.to(path).URL == nil {
					t.Errorf("the OP is not asked for its own %s", path)
				}
			}
		})
	}
}

// With session_state replace, the check page is to take the place of the OP's.
func TestTheCheckPageMayReplaceTheOPsAtItsOwnPath(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.ownCheckPage = true
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tcheck_session /its-own-check\n\t\tsession_state replace\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.get(site.issuer + "/.well-known/openid-configuration")
	if got := b.get(site.issuer + "/its-own-check"); !strings.Contains(got.body, "<script>") {
		t.Errorf("the check page is %s", got.body)
	}
	if log.has("which keeps it") {
		t.Errorf("logged %s", log)
	}
}

func TestAClientThatNeedsASidWhichItsIDTokensLackIsNamed(t *testing.T) {
	const (
		back  = "backchannel_logout_uri https://rp.example/back\n\t\t\t"
		front = "frontchannel_logout_uri https://rp.example/front\n\t\t\t"
	)
	tests := map[string]struct {
		client string
		sid    bool
		want   []string
	}{
		"by back channel":              {back + "backchannel_logout_session_required", false, []string{"backchannel_logout_session_required: its ID tokens have no sid"}},
		"by its logout tokens":         {back + "logout_token sid", false, []string{"logout_token sid: its ID tokens have no sid"}},
		"by front channel":             {front + "frontchannel_logout_session_required", false, []string{"frontchannel_logout_session_required: its ID tokens have no sid"}},
		"by both":                      {back + front + "backchannel_logout_session_required\n\t\t\tfrontchannel_logout_session_required", false, []string{"backchannel_logout_session_required: its ID tokens have no sid", "frontchannel_logout_session_required: its ID tokens have no sid"}},
		"not where there is a sid":     {back + "backchannel_logout_session_required", true, nil},
		"not where it is not required": {back + front, false, nil},
		"not without an address":       {"backchannel_logout_session_required\n\t\t\tfrontchannel_logout_session_required", false, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.noSid = !tt.sid
			config := site.caddyfile("", "oidc_session {\n\t\tlogin_cookie login\n\t\tend_session\n\t\tissuer ISSUER\n\t\tclient wiki {\n\t\t\t"+tt.client+"\n\t\t}\n\t}\n\t"+op.proxy())
			log := runLogged(t, t.TempDir(), config)
			b := newBrowser(t)
			for range 2 { // it is said once
				b.redeem(site, b.authorize(site, "wiki", "alice", nil))
				b.redeem(site, b.authorize(site, "shop", "", nil))
			}
			lines := log.lines(t, "client cannot be notified of sign-outs")
			if len(tt.want) == 0 && len(lines) != 0 || len(tt.want) > 0 && len(lines) != 1 {
				t.Fatalf("logged %v", lines)
			}
			if len(lines) == 1 {
				why, _ := json.Marshal(tt.want)
				want := fmt.Sprintf(`{"advice":"have the OP put a sid into the ID tokens of that client, or take the setting away from it","client_id":"wiki","issuer":%q,"why":%s}`, site.issuer, why)
				if lines[0]["level"] != "warn" || fields(lines[0]) != want {
					t.Errorf("logged %v, want %s", lines[0], want)
				}
			}
			if got := unnotified(t, site); !slices.Equal(got, tt.want) {
				t.Errorf("the operator hears %q", got)
			}
		})
	}
}

// unnotified is what the operator hears of wiki, which cannot be notified.
func unnotified(t *testing.T, s site) (why []string) {
	t.Helper()
	status, body := administer(t, http.MethodGet, noticesPath, "?issuer="+url.QueryEscape(s.issuer))
	var answer struct {
		Unnotified []struct {
			ClientID string `json:"client_id"`
			Why      string
		} `json:"cannot_be_notified"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for _, client := range answer.Unnotified {
		if client.ClientID != "wiki" {
			t.Errorf("the operator hears of %s", client.ClientID)
		}
		why = append(why, client.Why)
	}
	return why
}

func TestABackChannelURIThatRedirectsIsNamedWithItsTarget(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	moved := httptest.NewServer(http.RedirectHandler("https://new.example/back?secret=x", http.StatusMovedPermanently))
	defer moved.Close()
	log := runLogged(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore memory\n\t}", "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\t"+
		"backchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t}\n\t\tclient wiki {\n\t\t\tbackchannel_logout_uri "+moved.URL+"/back\n\t\t}\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "wiki", "alice", nil))
	b.signOut(site, op)
	const why = "answered with status 301: backchannel_logout_uri must be the final address, and it redirects to https://new.example"
	log.expect(t, `"why":"`+why+`"`)
	lines := log.lines(t, "logout given up")
	if len(lines) != 1 || lines[0]["level"] != "error" || lines[0]["why"] != why || lines[0]["host"] != "127.0.0.1" ||
		lines[0]["advice"] != "the client may still have its session: register the address that it redirects to as its backchannel_logout_uri" {
		t.Errorf("logged %v", lines)
	}
	if log.has("secret") {
		t.Error("the log has the query of the target")
	}
	expectNotice(t, site, why)
}

// expectNotice waits until the operator hears of a notice and why it is not delivered.
func expectNotice(t *testing.T, s site, why string) {
	t.Helper()
	eventually(t, "the operator hears of "+why, func() bool {
		return slices.ContainsFunc(notices(t, s.issuer), func(n operatorNotice) bool { return strings.Contains(n.Why, why) })
	})
}

func TestWhatIsProbablyNotMeantOfClientsIsWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.json")
	document := `{"clients": [
		{"client_id": "wiki", "postlogout_redirect_uris": ["https://wiki.example/"], "token_endpoint_auth_method": "none", "client_name#ja": "x", "Client_Name": "Wiki"},
		{"client_id": "mail", "postlogout_redirect_uris": [], "backchannel_logout_uri": "https://mail.example/*", "protocolMappers": []}
	]}`
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	site := newSite(t)
	log := runLogged(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tclients_file "+file+
		"\n\t\tclient shop {\n\t\t\tpost_logout_redirect_uri https://shop.example/*\n\t\t}\n\t}"))
	const message = `"msg":"clients_file has an unknown member, which is ignored","path":`
	log.expect(t, `"member":"postlogout_redirect_uris","client_id":"wiki","nearest":"post_logout_redirect_uris","advice":"write post_logout_redirect_uris, if that is meant"`)
	log.expect(t, `"member":"protocolMappers","client_id":"mail","advice":"remove it, if it has no meaning for the OP either"`)
	log.expect(t, `"msg":"registered address has a *, which stands for itself","client_id":"mail","option":"backchannel_logout_uri","advice":"register each address in full: there are no patterns"`)
	log.expect(t, `"client_id":"shop","option":"post_logout_redirect_uri"`)
	for text, want := range map[string]int{message: 2, `which stands for itself`: 2} {
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
}
