package handlerstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/registration"
)

// A Registrar is an OP that registers clients and knows nothing of logout: it drops what it does
// not know.
type Registrar struct {
	T *testing.T
	W *World
	G *registration.Registration

	Members []string // that it keeps; nil: whatever it is sent
	Clients map[string]map[string]any
	Says    map[string]any // in each answer, whatever it is asked
	Status  int            // zero: as it should be

	Good        int    // in place of the right status
	ContentType string // in place of JSON
}

const RegistrationPath = "/register"

func NewRegistrar(t *testing.T) *Registrar {
	w := NewWorld(t)
	w.OP = KnownOP(t, Issuer, handlers.Metadata{RegistrationEndpoint: Issuer + RegistrationPath, JWKSURI: Issuer + "/jwks"})
	r := &Registrar{T: t, W: w, Members: []string{"client_name", "redirect_uris"}, Clients: make(map[string]map[string]any)}
	r.Restart()
	return r
}

// Restart begins anew with the same registry.
func (o *Registrar) Restart() {
	clients := new(clients.Clients)
	if err := clients.Setup(o.W.Env); err != nil {
		o.T.Fatal(err)
	}
	back := o.W.BackChannel(clients)
	back.Configured = true
	o.G = &registration.Registration{Clients: clients, BackChannel: back, EndSession: &logout.EndSession{Config: logout.Config{Upstream: new(logout.Upstream)}}}
	o.G.Setup(o.W.Env)
}

func (o *Registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	id, found := strings.CutPrefix(r.URL.Path, RegistrationPath+"/")
	if !found {
		id = fmt.Sprintf("client %d", len(o.Clients)+1)
	}
	status := map[string]int{"POST": http.StatusCreated, "GET": http.StatusOK, "PUT": http.StatusOK, "DELETE": http.StatusNoContent}[r.Method]
	if o.Status != 0 {
		w.WriteHeader(o.Status)
		return nil
	}
	if o.Good != 0 {
		status = o.Good
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		var asked map[string]any
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return nil
		}
		kept := map[string]any{"client_id": id, "client_secret": "s3cret", "registration_client_uri": Issuer + RegistrationPath + "/" + strings.ReplaceAll(id, " ", "%20")}
		for name, value := range asked {
			if o.Members == nil || slices.Contains(o.Members, name) {
				kept[name] = value
			}
		}
		maps.Copy(kept, o.Says)
		o.Clients[id] = kept
	case http.MethodDelete:
		w.WriteHeader(status)
		return nil
	}
	w.Header().Set("Content-Type", cmp.Or(o.ContentType, "application/json"))
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(o.Clients[id])
}

// Send sends a request through, and returns the answer's members.
func (o *Registrar) Send(method, path, body string) (int, map[string]any) {
	o.T.Helper()
	r := httptest.NewRequest(method, Issuer+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer of-the-registration")
	if !o.G.Serves(o.W.OP, r) {
		o.T.Fatalf("%s is not observed", path)
	}
	w := httptest.NewRecorder()
	if err := o.G.Serve(o.W.OP, w, r, o); err != nil {
		o.T.Fatal(err)
	}
	var answer map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			o.T.Fatal(err)
		}
	}
	return w.Code, answer
}

func (o *Registrar) Find(id string) (clients.Client, bool) {
	o.T.Helper()
	client, known, err := o.G.Clients.LookUp(o.T.Context(), Issuer, id)
	if err != nil {
		o.T.Fatal(err)
	}
	return client, known
}

// ScriptTargets are addresses that lead browsers astray.
var ScriptTargets = []string{
	"javascript:alert(1)", "JavaScript://rp.example.com/%0aalert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://rp.example.com/x", "about:blank",
	"//evil", `\\evil`, "https:evil", "https:/evil", "https:///evil", "///evil", `/\evil`, `\/evil`, "/%09//evil", "/bye", "bye", "", "?x", "https://",
	"https://rp.example.com/#", "https://rp.example.com/#x", "https://user@rp.example.com/", "https://user:pw@rp.example.com/", "https://rp.example.com/a b",
	"https://rp.example.com/\r\nSet-Cookie: a=b", "https://rp.example.com/\t", `https://rp.example.com\@evil.example/`, "https://bücher.example/", "http://rp.example.com/",
	"http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "https://rp.example.com/\x00", "https://rp.example.com/%zz", "https://rp.example.com:port/", "app:/x",
	"https://@rp.example.com/", "https://:443/", "https://%C3%BC.example/", "https://[::1%25lo]/", "com.example.app://user@host/", "com.example.app:/#",
}
