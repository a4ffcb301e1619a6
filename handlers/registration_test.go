package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A registrar is an OP that registers clients and knows nothing of logout: it drops what it does not know.
type registrar struct {
	t *testing.T
	w *world
	g *Registration

	members []string // that it keeps
	clients map[string]map[string]any
	status  int // zero: as it should be
}

const registration = "/register"

func newRegistrar(t *testing.T) *registrar {
	w := newWorld(t)
	w.op = knownOP(t, issuer, metadata{RegistrationEndpoint: issuer + registration})
	r := &registrar{t: t, w: w, members: []string{"client_name", "redirect_uris"}, clients: make(map[string]map[string]any)}
	r.restart()
	return r
}

// restart begins anew with the same registry.
func (o *registrar) restart() {
	o.g = &Registration{Clients: new(Clients)}
	if err := o.g.Clients.Setup(o.w.env); err != nil {
		o.t.Fatal(err)
	}
	o.g.Setup(o.w.env)
}

func (o *registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	id, found := strings.CutPrefix(r.URL.Path, registration+"/")
	if !found {
		id = fmt.Sprintf("client %d", len(o.clients)+1)
	}
	status := map[string]int{"POST": http.StatusCreated, "GET": http.StatusOK, "PUT": http.StatusOK, "DELETE": http.StatusNoContent}[r.Method]
	if o.status != 0 {
		w.WriteHeader(o.status)
		return nil
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		var asked map[string]any
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return nil
		}
		kept := map[string]any{"client_id": id, "client_secret": "s3cret", "registration_client_uri": issuer + registration + "/" + strings.ReplaceAll(id, " ", "%20")}
		for _, name := range o.members {
			if value, given := asked[name]; given {
				kept[name] = value
			}
		}
		o.clients[id] = kept
	case http.MethodDelete:
		w.WriteHeader(status)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(o.clients[id])
}

// send sends a request through, and returns the answer's members.
func (o *registrar) send(method, path, body string) (int, map[string]any) {
	o.t.Helper()
	r := httptest.NewRequest(method, issuer+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
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
	if err := o.g.Clients.Load(o.t.Context(), issuer); err != nil {
		o.t.Fatal(err)
	}
	return o.g.Clients.Find(id)
}

const fullRegistration = `{"client_name":"The Shop","redirect_uris":["https://rp.example.com/cb"],"post_logout_redirect_uris":["https://rp.example.com/bye"],
	"backchannel_logout_uri":"https://rp.example.com/back","backchannel_logout_session_required":true,
	"frontchannel_logout_uri":"https://rp.example.com/front?a=b","insecure_http":true,"id_token_signed_response_alg":"ES256"}`

func TestWhatAClientRegistersForLogoutIsLearntAndEchoed(t *testing.T) {
	o := newRegistrar(t)
	status, answer := o.send("POST", registration, fullRegistration)
	if status != http.StatusCreated || answer["client_secret"] != "s3cret" || answer["backchannel_logout_uri"] != "https://rp.example.com/back" ||
		answer["backchannel_logout_session_required"] != true || answer["frontchannel_logout_uri"] != "https://rp.example.com/front?a=b" ||
		fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
		t.Fatalf("%d %v", status, answer)
	}
	for range 2 { // also after a restart
		client, known := o.find("client 1")
		if !known || client.Name != "The Shop" || !client.MayReturnTo("https://rp.example.com/bye") || !client.tellable("1") || client.tellable("") ||
			client.IDTokenSignedResponseAlg != "ES256" || client.InsecureHTTP {
			t.Errorf("known %v: %+v", known, client)
		}
		if !o.g.Clients.isRegistered("client 1") || o.g.Clients.isRegistered("client 2") {
			t.Error("it is not known how clients came to be known")
		}
		if _, read := o.send("GET", registration+"/client%201", ""); read["backchannel_logout_uri"] != "https://rp.example.com/back" {
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
	o.send("POST", registration, fullRegistration)
	o.restart()
	if _, answer := o.send("PUT", registration+"/client%201", `{"redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_uri":"https://rp.example.com/new"}`); answer["post_logout_redirect_uris"] != nil || answer["backchannel_logout_uri"] != "https://rp.example.com/new" {
		t.Errorf("the update is answered with %v", answer)
	}
	if client, _ := o.find("client 1"); client.BackChannelLogoutURI != "https://rp.example.com/new" || len(client.PostLogoutRedirectURIs) != 0 || client.FrontChannelLogoutURI != "" {
		t.Errorf("after the update: %+v", client)
	}
	o.status = http.StatusUnauthorized
	o.send("DELETE", registration+"/client%201", "")
	o.send("PUT", registration+"/client%201", fullRegistration)
	if client, known := o.find("client 1"); !known || client.BackChannelLogoutURI != "https://rp.example.com/new" {
		t.Errorf("what the OP refused has an effect: %+v", client)
	}
	o.status = 0
	o.send("DELETE", registration+"/client%201", "")
	for range 2 {
		if client, known := o.find("client 1"); known {
			t.Errorf("after its deletion: %+v", client)
		}
		o.restart()
	}
}

func TestWhatCannotBeConfiguredCannotBeRegistered(t *testing.T) {
	for name, tt := range map[string]struct{ request, dropped string }{
		"a script to return to":              {`"post_logout_redirect_uris":["javascript:alert(1)"]`, "post_logout_redirect_uris"},
		"a back channel in the clear":        {`"backchannel_logout_uri":"http://rp.example.com/"`, "backchannel_logout_uri"},
		"a back channel with a password":     {`"backchannel_logout_uri":"https://a:hunter2@rp.example.com/"`, "backchannel_logout_uri"},
		"a front channel of another origin":  {`"frontchannel_logout_uri":"https://evil.example/"`, "frontchannel_logout_uri"},
		"a front channel with another port":  {`"frontchannel_logout_uri":"https://rp.example.com:8443/"`, "frontchannel_logout_uri"},
		"a front channel that is a fragment": {`"frontchannel_logout_uri":"https://rp.example.com/#a"`, "frontchannel_logout_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			status, answer := o.send("POST", registration, `{"client_name":"a","redirect_uris":["https://rp.example.com/cb"],"backchannel_logout_session_required":true,`+tt.request+`}`)
			if status != http.StatusCreated || answer[tt.dropped] != nil || answer["client_id"] != "client 1" {
				t.Errorf("%d %v", status, answer)
			}
			client, known := o.find("client 1")
			if !known || len(client.logoutMembers()) > 1 || client.BackChannelLogoutURI != "" || client.FrontChannelLogoutURI != "" {
				t.Errorf("learnt %+v", client)
			}
			if o.w.logs.FilterMessageSnippet("cannot be used").Len() != 1 || strings.Contains(o.w.logged(), "hunter2") {
				t.Errorf("logged %s", o.w.logged())
			}
		})
	}
}

func TestWhatTheOPKeepsItselfIsWhatCounts(t *testing.T) {
	o := newRegistrar(t)
	o.members = append(o.members, "post_logout_redirect_uris", "backchannel_logout_uri")
	if _, answer := o.send("POST", registration, fullRegistration); fmt.Sprint(answer["post_logout_redirect_uris"]) != "[https://rp.example.com/bye]" {
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
			o.g.Clients.env.Registry = downRegistry{}
			return fullRegistration, http.StatusCreated
		},
		"a request over the bound": func(*registrar) (string, int) {
			return `{"x":"` + strings.Repeat("x", maxForm) + `"}`, http.StatusCreated
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newRegistrar(t)
			body, want := change(o)
			if status, answer := o.send("POST", registration, body); status != want || answer["backchannel_logout_uri"] != nil {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
}
