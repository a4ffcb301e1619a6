package main

import (
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// users are the End-Users of the OP. They need no password: this is a demo, on loopback.
var users = []string{"alice", "bob"}

// home tells who is signed in at the OP, and has the OP's own "sign out", which knows nothing of
// OpenID Connect.
func (p *provider) home(w http.ResponseWriter, r *http.Request) {
	writePage(w, "op_home.html", opPagePolicy, map[string]any{
		"User": sessionOf(r.Context()).user,
		"Apps": p.apps,
	})
}

// opPagePolicy is the CSP of the OP's own pages: no scripts, no frames around them. There is no
// form-action, because browsers apply it to the redirects after a form as well, and these lead to
// the RPs.
const opPagePolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// loginPage asks who is there; with single sign-on there is nothing to ask.
func (p *provider) loginPage(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	request, err := p.store.AuthRequestByID(r.Context(), id)
	if err != nil {
		writeError(w, http.StatusBadRequest, "Start again at the app", err)
		return
	}
	if request.Done() {
		p.finish(w, r, id)
		return
	}
	writePage(w, "op_login.html", opPagePolicy, map[string]any{
		"ID": id, "Client": request.GetClientID(), "Users": users,
	})
}

// login signs the End-User in and sends the browser back to the RP.
func (p *provider) login(w http.ResponseWriter, r *http.Request) {
	id, user := r.PostFormValue("id"), r.PostFormValue("user")
	if !slices.Contains(users, user) {
		http.Error(w, "no such user", http.StatusBadRequest)
		return
	}
	var earlier string
	if c, err := r.Cookie(ssoCookie); err == nil {
		earlier = c.Value
	}
	value, err := p.store.signIn(id, user, earlier)
	if err != nil {
		writeError(w, http.StatusBadRequest, "Start again at the app", err)
		return
	}
	setSSOCookie(w, value, 0)
	p.finish(w, r, id)
}

// finish goes on to the library, which answers the RP.
func (p *provider) finish(w http.ResponseWriter, r *http.Request, id string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, op.AuthCallbackURL(p.library)(r.Context(), id), http.StatusSeeOther)
}

// logout ends the session at the OP and deletes the login cookie: all that an OP without logout
// does.
func (p *provider) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(ssoCookie); err == nil {
		p.store.signOut(c.Value)
	}
	setSSOCookie(w, "", -1)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
