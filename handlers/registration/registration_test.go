package registration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/registration"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

const fullRegistration = `{"client_name":"The Shop","redirect_uris":["https://rp.example.com/cb"],"post_logout_redirect_uris":["https://rp.example.com/bye"],
	"backchannel_logout_uri":"https://rp.example.com/back","backchannel_logout_session_required":true,
	"frontchannel_logout_uri":"https://rp.example.com/front?a=b","insecure_http":true,"id_token_signed_response_alg":"ES256"}`

func TestWhatAClientRegistersForLogoutIsLearntAndEchoed(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	status, answer := o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	if status != http.StatusCreated || answer["client_secret"] != "s3cret" || answer["backchannel_logout_uri"] != "https://rp.example.com/back" ||
		answer["backchannel_logout_session_required"] != true || answer["frontchannel_logout_uri"] != "https://rp.example.com/front?a=b" ||
		fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
		t.Fatalf("%d %v", status, answer)
	}
	for range 2 { // also after a restart
		client, known := o.Find("client 1")
		if !known || client.Name != "" || !client.MayReturnTo("https://rp.example.com/bye") || !client.Notifiable("1") || client.Notifiable("") ||
			client.IDTokenSignedResponseAlg != "ES256" || client.InsecureHTTP {
			t.Errorf("known %v: %+v", known, client)
		}
		if !client.RegisteredItself() {
			t.Error("it is not known that it has registered itself")
		}
		if _, read := o.Send("GET", handlerstest.RegistrationPath+"/client%201", ""); read["backchannel_logout_uri"] != "https://rp.example.com/back" {
			t.Errorf("reading it gives %v", read)
		}
		o.Restart()
	}
	if strings.Contains(o.W.Logged(), "s3cret") {
		t.Error("the client's secret is in the log")
	}
}

func TestUpdatesAndDeletionsAreFollowed(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	o.Restart()
	if _, answer := o.Send("PUT", handlerstest.RegistrationPath+"/client%201", `{"redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_uri":"https://rp.example.com/new"}`); answer["post_logout_redirect_uris"] != nil || answer["backchannel_logout_uri"] != "https://rp.example.com/new" {
		t.Errorf("the update is answered with %v", answer)
	}
	if client, _ := o.Find("client 1"); client.BackChannelLogoutURI != "https://rp.example.com/new" || len(client.PostLogoutRedirectURIs) != 0 || client.FrontChannelLogoutURI != "" {
		t.Errorf("after the update: %+v", client)
	}
	o.Status = http.StatusUnauthorized
	o.Send("DELETE", handlerstest.RegistrationPath+"/client%201", "")
	o.Send("PUT", handlerstest.RegistrationPath+"/client%201", fullRegistration)
	if client, known := o.Find("client 1"); !known || client.BackChannelLogoutURI != "https://rp.example.com/new" {
		t.Errorf("what the OP refused has an effect: %+v", client)
	}
	o.Status = 0
	o.Send("DELETE", handlerstest.RegistrationPath+"/client%201", "")
	for range 2 {
		if client, known := o.Find("client 1"); known {
			t.Errorf("after its deletion: %+v", client)
		}
		o.Restart()
	}
}

func TestOnlyTheClientItselfChangesItsRegistration(t *testing.T) {
	evil := `{"redirect_uris":["https://evil.example/"],"post_logout_redirect_uris":["https://evil.example/bye"],"backchannel_logout_uri":"https://evil.example/back"}`
	at := handlerstest.RegistrationPath + "/client%201"
	for name, tt := range map[string]struct {
		method, path string
		change       func(o *handlerstest.Registrar, r *http.Request)
	}{
		"without a token":                        {"PUT", at, func(_ *handlerstest.Registrar, r *http.Request) { r.Header.Del("Authorization") }},
		"with another kind of credentials":       {"PUT", at, func(_ *handlerstest.Registrar, r *http.Request) { r.Header.Set("Authorization", "Basic YTpi") }},
		"at another address":                     {"PUT", handlerstest.RegistrationPath + "/other", func(o *handlerstest.Registrar, _ *http.Request) { o.Says = map[string]any{"client_id": "client 1"} }},
		"at its address with a query":            {"PUT", at + "?a", func(*handlerstest.Registrar, *http.Request) {}},
		"at the endpoint itself":                 {"PUT", handlerstest.RegistrationPath, func(o *handlerstest.Registrar, _ *http.Request) { o.Says = map[string]any{"client_id": "client 1"} }},
		"the answer is another client's":         {"PUT", at, func(o *handlerstest.Registrar, _ *http.Request) { o.Says = map[string]any{"client_id": "client 2"} }},
		"the answer is no registration":          {"PUT", at, func(o *handlerstest.Registrar, _ *http.Request) { o.Says = map[string]any{"client_id": 1} }},
		"the answer is refused":                  {"PUT", at, func(o *handlerstest.Registrar, _ *http.Request) { o.Status = http.StatusUnauthorized }},
		"the answer is that it is made":          {"PUT", at, func(o *handlerstest.Registrar, _ *http.Request) { o.Good = http.StatusCreated }},
		"the answer is a page":                   {"PUT", at, func(o *handlerstest.Registrar, _ *http.Request) { o.ContentType = "text/html" }},
		"deleted without a token":                {"DELETE", at, func(_ *handlerstest.Registrar, r *http.Request) { r.Header.Del("Authorization") }},
		"deleted, and the answer is a page":      {"DELETE", at, func(o *handlerstest.Registrar, _ *http.Request) { o.Good = http.StatusOK }},
		"deleted at another address with its ID": {"DELETE", handlerstest.RegistrationPath + "/x/client%201", func(*handlerstest.Registrar, *http.Request) {}},
	} {
		t.Run(name, func(t *testing.T) {
			o := handlerstest.NewRegistrar(t)
			o.Members = nil
			o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
			o.Send("POST", handlerstest.RegistrationPath, fullRegistration) // client 2
			r := httptest.NewRequest(tt.method, handlerstest.Issuer+tt.path, strings.NewReader(evil))
			r.Header.Set("Authorization", "Bearer of-the-registration")
			tt.change(o, r)
			if o.G.Serves(o.W.OP, r) {
				if err := o.G.Serve(o.W.OP, httptest.NewRecorder(), r, o); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range []string{"client 1", "client 2"} {
				if client, known := o.Find(id); !known || client.BackChannelLogoutURI != "https://rp.example.com/back" || client.MayReturnTo("https://evil.example/bye") {
					t.Errorf("%s is known: %v, %+v", id, known, client)
				}
			}
		})
	}
}

// What is in the registry may have been written by a version that took more.
func TestARecordedRegistrationHasNoMoreRightsThanANewOne(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	record := func(metadata string) {
		t.Helper()
		o.W.Register(t, "shop", metadata)
	}
	record(`{"client_id":"shop","client_name":"Your Bank","insecure_http":true,"backchannel_logout_uri":"https://rp.example.com/back"}`)
	if client, known := o.Find("shop"); !known || client.InsecureHTTP || client.Name != "" || client.BackChannelLogoutURI == "" {
		t.Errorf("known %v: %+v", known, client)
	}
	for _, member := range []string{"backchannel_logout_uri", "frontchannel_logout_uri"} {
		record(`{"client_id":"shop","insecure_http":true,"` + member + `":"http://rp.example.com/"}`)
		if client, known := o.Find("shop"); known {
			t.Errorf("by %s it is known: %+v", member, client)
		}
	}
	record(`{"client_id":"wiki","backchannel_logout_uri":"https://rp.example.com/back"}`)
	if client, known := o.Find("shop"); known {
		t.Errorf("it is another client: %+v", client)
	}
}

func TestNamesHaveNoControlCharacters(t *testing.T) {
	name := `The\u0000\n \u202eShop\u2066\u200f\u061c\u2028 \u00e9\u5e97`
	file := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(file, []byte(`[{"client_id":"wiki","client_name":"`+name+`"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	var configured string
	if err := json.Unmarshal([]byte(`"`+name+`"`), &configured); err != nil {
		t.Fatal(err)
	}
	w := handlerstest.NewWorld(t)
	clients := &clients.Clients{List: []clients.Client{{ID: "shop", Name: configured}}, File: file}
	if err := clients.Setup(w.Env); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"shop", "wiki"} {
		if client, _ := clients.Find(t.Context(), handlerstest.Issuer, id); client.ShownName(id) != "The Shop \u00e9\u5e97" {
			t.Errorf("%s is %q", id, client.Name)
		}
	}
}

func TestWhatCannotBeConfiguredCannotBeRegistered(t *testing.T) {
	for name, tt := range map[string]struct{ request, dropped string }{
		"a script to return to":              {`"post_logout_redirect_uris":["javascript:alert(1)"]`, "post_logout_redirect_uris"},
		"a back channel in the clear":        {`"backchannel_logout_uri":"http://rp.example.com/"`, "backchannel_logout_uri"},
		"a back channel with a password":     {`"backchannel_logout_uri":"https://a:hunter2@rp.example.com/"`, "backchannel_logout_uri"},
		"a back channel of another host":     {`"backchannel_logout_uri":"https://evil.example/"`, "backchannel_logout_uri"},
		"a back channel of a sub-domain":     {`"backchannel_logout_uri":"https://a.rp.example.com/"`, "backchannel_logout_uri"},
		"a front channel of another origin":  {`"frontchannel_logout_uri":"https://evil.example/"`, "frontchannel_logout_uri"},
		"a front channel with another port":  {`"frontchannel_logout_uri":"https://rp.example.com:8443/"`, "frontchannel_logout_uri"},
		"a front channel that is a fragment": {`"frontchannel_logout_uri":"https://rp.example.com/#a"`, "frontchannel_logout_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			o := handlerstest.NewRegistrar(t)
			status, answer := o.Send("POST", handlerstest.RegistrationPath, `{"client_name":"a","redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_session_required":true,`+tt.request+`}`)
			if status != http.StatusCreated || answer[tt.dropped] != nil || answer["client_id"] != "client 1" {
				t.Errorf("%d %v", status, answer)
			}
			client, known := o.Find("client 1")
			if !known || len(registration.LogoutMembers(client)) > 1 || client.BackChannelLogoutURI != "" || client.FrontChannelLogoutURI != "" {
				t.Errorf("learnt %+v", client)
			}
			logged := o.W.Logs.FilterMessageSnippet("cannot be used").All()
			if len(logged) != 1 || !strings.Contains(fmt.Sprint(logged[0].ContextMap()["members"]), tt.dropped) || strings.Contains(o.W.Logged(), "hunter2") {
				t.Errorf("logged %s", o.W.Logged())
			}
		})
	}
}

func TestWhatTheOPKeepsItselfIsWhatCounts(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	o.Members = append(o.Members, "post_logout_redirect_uris", "backchannel_logout_uri")
	if _, answer := o.Send("POST", handlerstest.RegistrationPath, fullRegistration); fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
		t.Errorf("got %v", answer)
	}
	if client, known := o.Find("client 1"); !known || !client.MayReturnTo("https://rp.example.com/bye") {
		t.Errorf("learnt %+v", client)
	}
}

func TestRegistrationsPassWhatever(t *testing.T) {
	for name, change := range map[string]func(o *handlerstest.Registrar) (body string, want int){
		"a broken request": func(*handlerstest.Registrar) (string, int) { return "{", http.StatusBadRequest },
		"an OP that refuses": func(o *handlerstest.Registrar) (string, int) {
			o.Status = http.StatusForbidden
			return fullRegistration, http.StatusForbidden
		},
		"a registry that is away": func(o *handlerstest.Registrar) (string, int) {
			o.W.Down()
			return fullRegistration, http.StatusCreated
		},
		"a request over the bound": func(*handlerstest.Registrar) (string, int) {
			return `{"x":"` + strings.Repeat("x", exchange.MaxForm) + `"}`, http.StatusCreated
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := handlerstest.NewRegistrar(t)
			body, want := change(o)
			if status, answer := o.Send("POST", handlerstest.RegistrationPath, body); status != want || answer["backchannel_logout_uri"] != nil {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
}

func TestWhatAnotherSiteHasLearntIsKnown(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	other := o.G
	o.Restart()
	if _, known := o.Find("client 1"); known {
		t.Fatal("nothing is registered yet")
	}
	here := o.G
	o.G = other
	o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	o.G = here
	if _, known := o.Find("client 1"); !known {
		t.Error("a client that registered at another site is not known")
	}
}

// An OP that keeps and echoes what it does not know lets a client choose the names of members.
func TestAClientCannotPassForAnother(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	o.Members = nil
	o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	evil := `{"Client_ID":"client 1","CLIENT_ID":"client 1","registration_client_uri":"` + handlerstest.Issuer + handlerstest.RegistrationPath + `/client%201",
		"redirect_uris":["https://evil.example/"],"post_logout_redirect_uris":["https://evil.example/bye"],"backchannel_logout_uri":"https://evil.example/back"}`
	o.Says = map[string]any{"client_id": "evil", "registration_client_uri": handlerstest.Issuer + handlerstest.RegistrationPath + "/client%201"}
	o.Send("POST", handlerstest.RegistrationPath, evil)
	o.Says = nil
	if client, _ := o.Find("client 1"); client.MayReturnTo("https://evil.example/bye") || client.BackChannelLogoutURI != "https://rp.example.com/back" {
		t.Errorf("the other client is now %+v", client)
	}
	if client, known := o.Find("evil"); !known || client.BackChannelLogoutURI != "https://evil.example/back" {
		t.Errorf("its own registration is %+v", client)
	}
	o.Send("DELETE", handlerstest.RegistrationPath+"/client%201", "")
	if _, known := o.Find("client 1"); known {
		t.Error("the other client's address leads to somebody else")
	}
	if _, known := o.Find("evil"); !known {
		t.Error("it was deleted by the other client")
	}
}

func TestWhereARegistrationIsChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		says, at string
		deleted  bool
	}{
		"below the endpoint":              {handlerstest.Issuer + handlerstest.RegistrationPath + "/xyz?a=b", handlerstest.RegistrationPath + "/xyz?a=b", true},
		"the endpoint with a query":       {handlerstest.Issuer + handlerstest.RegistrationPath + "?client=1", handlerstest.RegistrationPath + "?client=1", true},
		"not said":                        {"", handlerstest.RegistrationPath + "/client%201", false},
		"on another origin":               {"https://elsewhere.example/client%201", handlerstest.RegistrationPath + "/client%201", false},
		"elsewhere at the OP":             {handlerstest.Issuer + "/login", handlerstest.RegistrationPath + "/client%201", false},
		"not there":                       {handlerstest.Issuer + handlerstest.RegistrationPath + "/xyz", handlerstest.RegistrationPath + "/another", false},
		"by its ID though it has a place": {handlerstest.Issuer + handlerstest.RegistrationPath + "/xyz", handlerstest.RegistrationPath + "/client%201", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := handlerstest.NewRegistrar(t)
			o.Says = map[string]any{"registration_client_uri": tt.says}
			o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
			o.Send("DELETE", tt.at, "")
			if _, known := o.Find("client 1"); known == tt.deleted {
				t.Errorf("known after its deletion: %v", known)
			}
			o.Clients["xyz"] = map[string]any{"client_id": "client 1"}
			o.Send("PUT", tt.at, `{"redirect_uris":["https://rp.example.com/cb"]}`)
			if client, known := o.Find("client 1"); known && client.BackChannelLogoutURI == "" {
				t.Error("it was changed at another address")
			}
		})
	}
}

func TestPagesBelowTheRegistrationEndpointAreNotTaken(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	for request, want := range map[string]bool{
		"POST " + handlerstest.RegistrationPath:            true,
		"POST " + handlerstest.RegistrationPath + "/step2": false,
		"GET " + handlerstest.RegistrationPath:             false, // without a token
		"GET " + handlerstest.RegistrationPath + "/terms":  false,
		"HEAD " + handlerstest.RegistrationPath:            false,
		"PUT " + handlerstest.RegistrationPath + "/a":      false, // as these
		"DELETE " + handlerstest.RegistrationPath + "/a":   false,
		"PUT " + handlerstest.RegistrationPath + "ed":      false,
		"PUT /login": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := o.G.Serves(o.W.OP, httptest.NewRequest(method, handlerstest.Issuer+path, nil)); got != want {
			t.Errorf("%s: %v", request, got)
		}
	}
	root := handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{RegistrationEndpoint: handlerstest.Issuer + "/"})
	if o.G.Serves(root, httptest.NewRequest("PUT", handlerstest.Issuer+"/login", nil)) || !o.G.Serves(root, httptest.NewRequest("POST", handlerstest.Issuer+"/", nil)) {
		t.Error("an endpoint at the root takes all of the site, or nothing")
	}
}

func TestOnlyWhatIsActedUponIsEchoed(t *testing.T) {
	all := []string{"backchannel_logout_uri", "frontchannel_logout_uri", "post_logout_redirect_uris"}
	for name, tt := range map[string]struct {
		change func(o *handlerstest.Registrar)
		want   []string
	}{
		"everything is served":                          {func(*handlerstest.Registrar) {}, all},
		"the OP has an end_session endpoint of its own": {func(o *handlerstest.Registrar) { o.W.OP.EndSessionEndpoint = "https://login.example.com/logout" }, all[:1]},
		"there is nothing to sign out by":               {func(o *handlerstest.Registrar) { o.G.EndSession = new(logout.EndSession) }, all[:1]},
		"no client is told by back channel":             {func(o *handlerstest.Registrar) { o.G.BackChannel.Configured = false }, all[1:]},
		"the OP tells its clients by back channel":      {func(o *handlerstest.Registrar) { o.W.OP.BackChannelLogout = true }, all[1:]},
		"the OP tells its clients by front channel":     {func(o *handlerstest.Registrar) { o.W.OP.FrontChannelLogout = true }, []string{all[0], all[2]}},
	} {
		t.Run(name, func(t *testing.T) {
			o := handlerstest.NewRegistrar(t)
			tt.change(o)
			_, answer := o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
			for _, member := range all {
				if _, echoed := answer[member]; echoed != slices.Contains(tt.want, member) {
					t.Errorf("%s is echoed: %v", member, echoed)
				}
			}
			if client, _ := o.Find("client 1"); len(registration.LogoutMembers(client)) != 4 {
				t.Errorf("learnt %+v", client)
			}
		})
	}
}

func TestMembersOfOtherTypesAreNone(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	o.Says = map[string]any{"post_logout_redirect_uris": "https://rp.example.com/bye", "client_name": 7, "frontchannel_logout_uri": nil}
	if status, _ := o.Send("PUT", handlerstest.RegistrationPath+"/client%201", `{"redirect_uris":["https://rp.example.com/cb"]}`); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	if client, known := o.Find("client 1"); !known || len(registration.LogoutMembers(client)) != 0 || client.Name != "" {
		t.Errorf("after the update: %+v", client)
	}
}

func TestARegistrationIsBounded(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	uri := `"https://rp.example.com/` + strings.Repeat("x", 1000) + `"`
	o.Send("POST", handlerstest.RegistrationPath, `{"redirect_uris":["https://rp.example.com/"],"backchannel_logout_uri":"https://rp.example.com/back","post_logout_redirect_uris":[`+
		strings.Join(slices.Repeat([]string{uri}, 20), ",")+`]}`)
	client, known := o.Find("client 1")
	if !known || len(client.PostLogoutRedirectURIs) != 0 || client.BackChannelLogoutURI == "" {
		t.Errorf("learnt %+v", client)
	}
}

func TestAClientThatRegisteredItselfIsToldAtPublicAddressesOnly(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	o.Send("POST", handlerstest.RegistrationPath, fullRegistration)
	b := o.G.BackChannel
	b.Observe(o.W.OP)
	route := func() notify.Route {
		return o.W.NoticesOf(b).Route(t.Context(), registry.PendingNotice{Issuer: handlerstest.Issuer, ClientID: "client 1", Sub: "alice", Sid: "1"})
	}
	if target := route().Target; target.Sender != b.Strict || target.URI != "https://rp.example.com/back" || !target.SelfRegistered {
		t.Errorf("it is told at %+v", target)
	}
	b.Configured = false // and nobody else is told from here
	if got := route(); got.Drop == "" {
		t.Errorf("it is told: %+v", got)
	}
}
