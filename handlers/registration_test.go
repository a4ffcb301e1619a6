package handlers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A registrar is an OP that registers clients and knows nothing of logout: it drops what it does not know.
type registrar struct {
	t *testing.T
	w *world
	g *Registration

	members []string // that it keeps; nil: whatever it is sent
	clients map[string]map[string]any
	says    map[string]any // in each answer, whatever it is asked
	status  int            // zero: as it should be

	good        int    // in place of the right status
	contentType string // in place of JSON
}

const registrationPath = "/register"

func newRegistrar(t *testing.T) *registrar {
	w := newWorld(t)
	w.op = knownOP(t, issuer, metadata{RegistrationEndpoint: issuer + registrationPath, JWKSURI: issuer + "/jwks"})
	r := &registrar{t: t, w: w, members: []string{"client_name", "redirect_uris"}, clients: make(map[string]map[string]any)}
	r.restart()
	return r
}

// restart begins anew with the same registry.
func (o *registrar) restart() {
	clients := new(Clients)
	if err := clients.Setup(o.w.env); err != nil {
		o.t.Fatal(err)
	}
	back := o.w.backChannel(clients)
	back.Configured = true
	o.g = &Registration{Clients: clients, BackChannel: back, EndSession: &EndSession{Upstream: new(Upstream)}}
	o.g.Setup(o.w.env)
}

func (o *registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	id, found := strings.CutPrefix(r.URL.Path, registrationPath+"/")
	if !found {
		id = fmt.Sprintf("client %d", len(o.clients)+1)
	}
	status := map[string]int{"POST": http.StatusCreated, "GET": http.StatusOK, "PUT": http.StatusOK, "DELETE": http.StatusNoContent}[r.Method]
	if o.status != 0 {
		w.WriteHeader(o.status)
		return nil
	}
	if o.good != 0 {
		status = o.good
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		var asked map[string]any
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return nil
		}
		kept := map[string]any{"client_id": id, "client_secret": "s3cret", "registration_client_uri": issuer + registrationPath + "/" + strings.ReplaceAll(id, " ", "%20")}
		for name, value := range asked {
			if o.members == nil || slices.Contains(o.members, name) {
				kept[name] = value
			}
		}
		maps.Copy(kept, o.says)
		o.clients[id] = kept
	case http.MethodDelete:
		w.WriteHeader(status)
		return nil
	}
	w.Header().Set("Content-Type", cmp.Or(o.contentType, "application/json"))
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(o.clients[id])
}

// send sends a request through, and returns the answer's members.
func (o *registrar) send(method, path, body string) (int, map[string]any) {
	o.t.Helper()
	r := httptest.NewRequest(method, issuer+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer of-the-registration")
	if !o.g.Serves(o.w.op, r) {
		o.t.Fatalf("%s is not observed", path)
	}
	w := httptest.NewRecorder()
	if err := o.g.Serve(o.w.op, w, r, o); err != nil {
		o.t.Fatal(err)
	}
	var answer map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			o.t.Fatal(err)
		}
	}
	return w.Code, answer
}

func (o *registrar) find(id string) (Client, bool) {
	o.t.Helper()
	client, known, err := o.g.Clients.lookUp(o.t.Context(), issuer, id)
	if err != nil {
		o.t.Fatal(err)
	}
	return client, known
}

const fullRegistration = `{"client_name":"The Shop","redirect_uris":["https://rp.example.com/cb"],"post_logout_redirect_uris":["https://rp.example.com/bye"],
	"backchannel_logout_uri":"https://rp.example.com/back","backchannel_logout_session_required":true,
	"frontchannel_logout_uri":"https://rp.example.com/front?a=b","insecure_http":true,"id_token_signed_response_alg":"ES256"}`

func TestWhatAClientRegistersForLogoutIsLearntAndEchoed(t *testing.T) {
	o := newRegistrar(t)
	status, answer := o.send("POST", registrationPath, fullRegistration)
	if status != http.StatusCreated || answer["client_secret"] != "s3cret" || answer["backchannel_logout_uri"] != "https://rp.example.com/back" ||
		answer["backchannel_logout_session_required"] != true || answer["frontchannel_logout_uri"] != "https://rp.example.com/front?a=b" ||
		fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
		t.Fatalf("%d %v", status, answer)
	}
	for range 2 { // also after a restart
		client, known := o.find("client 1")
		if !known || client.Name != "" || !client.MayReturnTo("https://rp.example.com/bye") || !client.tellable("1") || client.tellable("") ||
			client.IDTokenSignedResponseAlg != "ES256" || client.InsecureHTTP {
			t.Errorf("known %v: %+v", known, client)
		}
		if !client.registered {
			t.Error("it is not known that it has registered itself")
		}
		if _, read := o.send("GET", registrationPath+"/client%201", ""); read["backchannel_logout_uri"] != "https://rp.example.com/back" {
			t.Errorf("reading it gives %v", read)
		}
		o.restart()
	}
	if strings.Contains(o.w.logged(), "s3cret") {
		t.Error("the client's secret is in the log")
	}
}

func TestUpdatesAndDeletionsAreFollowed(t *testing.T) {
	o := newRegistrar(t)
	o.send("POST", registrationPath, fullRegistration)
	o.restart()
	if _, answer := o.send("PUT", registrationPath+"/client%201", `{"redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_uri":"https://rp.example.com/new"}`); answer["post_logout_redirect_uris"] != nil || answer["backchannel_logout_uri"] != "https://rp.example.com/new" {
		t.Errorf("the update is answered with %v", answer)
	}
	if client, _ := o.find("client 1"); client.BackChannelLogoutURI != "https://rp.example.com/new" || len(client.PostLogoutRedirectURIs) != 0 || client.FrontChannelLogoutURI != "" {
		t.Errorf("after the update: %+v", client)
	}
	o.status = http.StatusUnauthorized
	o.send("DELETE", registrationPath+"/client%201", "")
	o.send("PUT", registrationPath+"/client%201", fullRegistration)
	if client, known := o.find("client 1"); !known || client.BackChannelLogoutURI != "https://rp.example.com/new" {
		t.Errorf("what the OP refused has an effect: %+v", client)
	}
	o.status = 0
	o.send("DELETE", registrationPath+"/client%201", "")
	for range 2 {
		if client, known := o.find("client 1"); known {
			t.Errorf("after its deletion: %+v", client)
		}
		o.restart()
	}
}

func TestOnlyTheClientItselfChangesItsRegistration(t *testing.T) {
	evil := `{"redirect_uris":["https://evil.example/"],"post_logout_redirect_uris":["https://evil.example/bye"],"backchannel_logout_uri":"https://evil.example/back"}`
	at := registrationPath + "/client%201"
	for name, tt := range map[string]struct {
		method, path string
		change       func(o *registrar, r *http.Request)
	}{
		"without a token":                        {"PUT", at, func(_ *registrar, r *http.Request) { r.Header.Del("Authorization") }},
		"with another kind of credentials":       {"PUT", at, func(_ *registrar, r *http.Request) { r.Header.Set("Authorization", "Basic YTpi") }},
		"at another address":                     {"PUT", registrationPath + "/other", func(o *registrar, _ *http.Request) { o.says = map[string]any{"client_id": "client 1"} }},
		"at its address with a query":            {"PUT", at + "?a", func(*registrar, *http.Request) {}},
		"at the endpoint itself":                 {"PUT", registrationPath, func(o *registrar, _ *http.Request) { o.says = map[string]any{"client_id": "client 1"} }},
		"the answer is another client's":         {"PUT", at, func(o *registrar, _ *http.Request) { o.says = map[string]any{"client_id": "client 2"} }},
		"the answer is no registration":          {"PUT", at, func(o *registrar, _ *http.Request) { o.says = map[string]any{"client_id": 1} }},
		"the answer is refused":                  {"PUT", at, func(o *registrar, _ *http.Request) { o.status = http.StatusUnauthorized }},
		"the answer is that it is made":          {"PUT", at, func(o *registrar, _ *http.Request) { o.good = http.StatusCreated }},
		"the answer is a page":                   {"PUT", at, func(o *registrar, _ *http.Request) { o.contentType = "text/html" }},
		"deleted without a token":                {"DELETE", at, func(_ *registrar, r *http.Request) { r.Header.Del("Authorization") }},
		"deleted, and the answer is a page":      {"DELETE", at, func(o *registrar, _ *http.Request) { o.good = http.StatusOK }},
		"deleted at another address with its ID": {"DELETE", registrationPath + "/x/client%201", func(*registrar, *http.Request) {}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			o.members = nil
			o.send("POST", registrationPath, fullRegistration)
			o.send("POST", registrationPath, fullRegistration) // client 2
			r := httptest.NewRequest(tt.method, issuer+tt.path, strings.NewReader(evil))
			r.Header.Set("Authorization", "Bearer of-the-registration")
			tt.change(o, r)
			if o.g.Serves(o.w.op, r) {
				if err := o.g.Serve(o.w.op, httptest.NewRecorder(), r, o); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range []string{"client 1", "client 2"} {
				if client, known := o.find(id); !known || client.BackChannelLogoutURI != "https://rp.example.com/back" || client.MayReturnTo("https://evil.example/bye") {
					t.Errorf("%s is known: %v, %+v", id, known, client)
				}
			}
		})
	}
}

// What is in the registry may have been written by a version that took more.
func TestARecordedRegistrationHasNoMoreRightsThanANewOne(t *testing.T) {
	o := newRegistrar(t)
	record := func(metadata string) {
		t.Helper()
		o.w.register(t, "shop", metadata)
	}
	record(`{"client_id":"shop","client_name":"Your Bank","insecure_http":true,"backchannel_logout_uri":"https://rp.example.com/back"}`)
	if client, known := o.find("shop"); !known || client.InsecureHTTP || client.Name != "" || client.BackChannelLogoutURI == "" {
		t.Errorf("known %v: %+v", known, client)
	}
	for _, member := range []string{"backchannel_logout_uri", "frontchannel_logout_uri"} {
		record(`{"client_id":"shop","insecure_http":true,"` + member + `":"http://rp.example.com/"}`)
		if client, known := o.find("shop"); known {
			t.Errorf("by %s it is known: %+v", member, client)
		}
	}
	record(`{"client_id":"wiki","backchannel_logout_uri":"https://rp.example.com/back"}`)
	if client, known := o.find("shop"); known {
		t.Errorf("it is another client: %+v", client)
	}
}

func TestARegisteredNameIsNotShown(t *testing.T) {
	o := newRegistrar(t)
	for _, name := range []string{"Your Bank", "signed out. Call +1 555 0100", "\u202egnoW"} {
		_, answer := o.send("POST", registrationPath, `{"client_name":"`+name+`","redirect_uris":["https://rp.example.com/cb"]}`)
		id := fmt.Sprint(answer["client_id"])
		client, known := o.find(id)
		if !known || client.Name != "" {
			t.Errorf("%s: known %v: %+v", name, known, client)
		}
		end := &EndSession{Clients: o.g.Clients}
		r := httptest.NewRequest("GET", issuer+"/", nil)
		l := leaveOf(newVisit(o.w.env, o.w.op, o.w.keys, r), r, logoutRequest{ClientID: id, Hinted: true})
		page := assets.View{Page: assets.PageQuestion}
		if end.showClient(l, &page); page.Client != id {
			t.Errorf("the question names %q", page.Client)
		}
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
	w := newWorld(t)
	clients := &Clients{List: []Client{{ID: "shop", Name: configured}}, File: file}
	if err := clients.Setup(w.env); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"shop", "wiki"} {
		if client, _ := clients.Find(t.Context(), issuer, id); client.shownName(id) != "The Shop \u00e9\u5e97" {
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
			o := newRegistrar(t)
			status, answer := o.send("POST", registrationPath, `{"client_name":"a","redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_session_required":true,`+tt.request+`}`)
			if status != http.StatusCreated || answer[tt.dropped] != nil || answer["client_id"] != "client 1" {
				t.Errorf("%d %v", status, answer)
			}
			client, known := o.find("client 1")
			if !known || len(logoutMembers(client)) > 1 || client.BackChannelLogoutURI != "" || client.FrontChannelLogoutURI != "" {
				t.Errorf("learnt %+v", client)
			}
			logged := o.w.logs.FilterMessageSnippet("cannot be used").All()
			if len(logged) != 1 || !strings.Contains(fmt.Sprint(logged[0].ContextMap()["members"]), tt.dropped) || strings.Contains(o.w.logged(), "hunter2") {
				t.Errorf("logged %s", o.w.logged())
			}
		})
	}
}

func TestWhatTheOPKeepsItselfIsWhatCounts(t *testing.T) {
	o := newRegistrar(t)
	o.members = append(o.members, "post_logout_redirect_uris", "backchannel_logout_uri")
	if _, answer := o.send("POST", registrationPath, fullRegistration); fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
		t.Errorf("got %v", answer)
	}
	if client, known := o.find("client 1"); !known || !client.MayReturnTo("https://rp.example.com/bye") {
		t.Errorf("learnt %+v", client)
	}
}

func TestRegistrationsPassWhatever(t *testing.T) {
	for name, change := range map[string]func(o *registrar) (body string, want int){
		"a broken request": func(*registrar) (string, int) { return "{", http.StatusBadRequest },
		"an OP that refuses": func(o *registrar) (string, int) {
			o.status = http.StatusForbidden
			return fullRegistration, http.StatusForbidden
		},
		"a registry that is away": func(o *registrar) (string, int) {
			o.w.down()
			return fullRegistration, http.StatusCreated
		},
		"a request over the bound": func(*registrar) (string, int) {
			return `{"x":"` + strings.Repeat("x", maxForm) + `"}`, http.StatusCreated
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			body, want := change(o)
			if status, answer := o.send("POST", registrationPath, body); status != want || answer["backchannel_logout_uri"] != nil {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
}

func TestWhatAnotherSiteHasLearntIsKnown(t *testing.T) {
	o := newRegistrar(t)
	other := o.g
	o.restart()
	if _, known := o.find("client 1"); known {
		t.Fatal("nothing is registered yet")
	}
	here := o.g
	o.g = other
	o.send("POST", registrationPath, fullRegistration)
	o.g = here
	if _, known := o.find("client 1"); !known {
		t.Error("a client that registered at another site is not known")
	}
}

// An OP that keeps and echoes what it does not know lets a client choose the names of members.
func TestAClientCannotPassForAnother(t *testing.T) {
	o := newRegistrar(t)
	o.members = nil
	o.send("POST", registrationPath, fullRegistration)
	evil := `{"Client_ID":"client 1","CLIENT_ID":"client 1","registration_client_uri":"` + issuer + registrationPath + `/client%201",
		"redirect_uris":["https://evil.example/"],"post_logout_redirect_uris":["https://evil.example/bye"],"backchannel_logout_uri":"https://evil.example/back"}`
	o.says = map[string]any{"client_id": "evil", "registration_client_uri": issuer + registrationPath + "/client%201"}
	o.send("POST", registrationPath, evil)
	o.says = nil
	if client, _ := o.find("client 1"); client.MayReturnTo("https://evil.example/bye") || client.BackChannelLogoutURI != "https://rp.example.com/back" {
		t.Errorf("the other client is now %+v", client)
	}
	if client, known := o.find("evil"); !known || client.BackChannelLogoutURI != "https://evil.example/back" {
		t.Errorf("its own registration is %+v", client)
	}
	o.send("DELETE", registrationPath+"/client%201", "")
	if _, known := o.find("client 1"); known {
		t.Error("the other client's address leads to somebody else")
	}
	if _, known := o.find("evil"); !known {
		t.Error("it was deleted by the other client")
	}
}

func TestWhereARegistrationIsChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		says, at string
		deleted  bool
	}{
		"below the endpoint":              {issuer + registrationPath + "/xyz?a=b", registrationPath + "/xyz?a=b", true},
		"the endpoint with a query":       {issuer + registrationPath + "?client=1", registrationPath + "?client=1", true},
		"not said":                        {"", registrationPath + "/client%201", false},
		"on another origin":               {"https://elsewhere.example/client%201", registrationPath + "/client%201", false},
		"elsewhere at the OP":             {issuer + "/login", registrationPath + "/client%201", false},
		"not there":                       {issuer + registrationPath + "/xyz", registrationPath + "/another", false},
		"by its ID though it has a place": {issuer + registrationPath + "/xyz", registrationPath + "/client%201", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			o.says = map[string]any{"registration_client_uri": tt.says}
			o.send("POST", registrationPath, fullRegistration)
			o.send("DELETE", tt.at, "")
			if _, known := o.find("client 1"); known == tt.deleted {
				t.Errorf("known after its deletion: %v", known)
			}
			o.clients["xyz"] = map[string]any{"client_id": "client 1"}
			o.send("PUT", tt.at, `{"redirect_uris":["https://rp.example.com/cb"]}`)
			if client, known := o.find("client 1"); known && client.BackChannelLogoutURI == "" {
				t.Error("it was changed at another address")
			}
		})
	}
}

func TestPagesBelowTheRegistrationEndpointAreNotTaken(t *testing.T) {
	o := newRegistrar(t)
	for request, want := range map[string]bool{
		"POST " + registrationPath:            true,
		"POST " + registrationPath + "/step2": false,
		"GET " + registrationPath:             false, // without a token
		"GET " + registrationPath + "/terms":  false,
		"HEAD " + registrationPath:            false,
		"PUT " + registrationPath + "/a":      false, // as these
		"DELETE " + registrationPath + "/a":   false,
		"PUT " + registrationPath + "ed":      false,
		"PUT /login":                          false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := o.g.Serves(o.w.op, httptest.NewRequest(method, issuer+path, nil)); got != want {
			t.Errorf("%s: %v", request, got)
		}
	}
	root := knownOP(t, issuer, metadata{RegistrationEndpoint: issuer + "/"})
	if o.g.Serves(root, httptest.NewRequest("PUT", issuer+"/login", nil)) || !o.g.Serves(root, httptest.NewRequest("POST", issuer+"/", nil)) {
		t.Error("an endpoint at the root takes all of the site, or nothing")
	}
}

func TestOnlyWhatIsActedUponIsEchoed(t *testing.T) {
	all := []string{"backchannel_logout_uri", "frontchannel_logout_uri", "post_logout_redirect_uris"}
	for name, tt := range map[string]struct {
		change func(o *registrar)
		want   []string
	}{
		"everything is served":                          {func(*registrar) {}, all},
		"the OP has an end_session endpoint of its own": {func(o *registrar) { o.w.op.endsSessions = true }, all[:1]},
		"there is nothing to sign out by":               {func(o *registrar) { o.g.EndSession = new(EndSession) }, all[:1]},
		"no client is told by back channel":             {func(o *registrar) { o.g.BackChannel.Configured = false }, all[1:]},
		"the OP tells its clients by back channel":      {func(o *registrar) { o.w.op.tellsClients = true }, all[1:]},
		"the OP tells its clients by front channel":     {func(o *registrar) { o.w.op.framesClients = true }, []string{all[0], all[2]}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			tt.change(o)
			_, answer := o.send("POST", registrationPath, fullRegistration)
			for _, member := range all {
				if _, echoed := answer[member]; echoed != slices.Contains(tt.want, member) {
					t.Errorf("%s is echoed: %v", member, echoed)
				}
			}
			if client, _ := o.find("client 1"); len(logoutMembers(client)) != 4 {
				t.Errorf("learnt %+v", client)
			}
		})
	}
}

func TestMembersOfOtherTypesAreNone(t *testing.T) {
	o := newRegistrar(t)
	o.send("POST", registrationPath, fullRegistration)
	o.says = map[string]any{"post_logout_redirect_uris": "https://rp.example.com/bye", "client_name": 7, "frontchannel_logout_uri": nil}
	if status, _ := o.send("PUT", registrationPath+"/client%201", `{"redirect_uris":["https://rp.example.com/cb"]}`); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	if client, known := o.find("client 1"); !known || len(logoutMembers(client)) != 0 || client.Name != "" {
		t.Errorf("after the update: %+v", client)
	}
}

func TestARegistrationIsBounded(t *testing.T) {
	o := newRegistrar(t)
	uri := `"https://rp.example.com/` + strings.Repeat("x", 1000) + `"`
	o.send("POST", registrationPath, `{"redirect_uris":["https://rp.example.com/"],"backchannel_logout_uri":"https://rp.example.com/back","post_logout_redirect_uris":[`+
		strings.Join(slices.Repeat([]string{uri}, 20), ",")+`]}`)
	client, known := o.find("client 1")
	if !known || len(client.PostLogoutRedirectURIs) != 0 || client.BackChannelLogoutURI == "" {
		t.Errorf("learnt %+v", client)
	}
}

func TestAClientThatRegisteredItselfIsToldAtPublicAddressesOnly(t *testing.T) {
	o := newRegistrar(t)
	o.send("POST", registrationPath, fullRegistration)
	b := o.g.BackChannel
	b.See(o.w.op)
	route := func() notify.Route {
		return o.w.noticesOf(b).Route(t.Context(), registry.Owed{Issuer: issuer, ClientID: "client 1", Sub: "alice", Sid: "1"})
	}
	if target := route().Target; target.Sender != b.Strict || target.URI != "https://rp.example.com/back" || !target.SelfRegistered {
		t.Errorf("it is told at %+v", target)
	}
	b.Configured = false // and nobody else is told from here
	if got := route(); got.Drop == "" {
		t.Errorf("it is told: %+v", got)
	}
}
