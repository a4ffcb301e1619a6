package e2e

import (
	"io"
	"net/http"
)

const accountPage = `<!DOCTYPE html>
<title>Your account</title>
<button id="switch">Go on as bob</button>
<button id="sign-out">Sign out</button>
<script>
	for (const button of document.querySelectorAll('button')) {
		button.onclick = async () => {
			const response = await fetch('/' + button.id, {method: 'POST'});
			document.body.dataset.done = response.ok ? button.id : 'nothing';
		};
	}
</script>
`

// account shows the page on which a user does what follows.
func (o *scriptedOP) account(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, accountPage)
}

// switchUser puts bob in the place of whoever is signed in, and sets no cookie.
func (o *scriptedOP) switchUser(w http.ResponseWriter, r *http.Request) {
	o.setUser(w, r, "bob")
}

// signOut ends the session.
func (o *scriptedOP) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, loginCookie(""))
	o.setUser(w, r, "")
}

// setUser sets the user of the session of a request, which must have one.
func (o *scriptedOP) setUser(w http.ResponseWriter, r *http.Request, user string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	session := o.find(r)
	if session == nil || session.user == "" {
		http.Error(w, "nobody is signed in", http.StatusConflict)
		return
	}
	session.user = user
}

// ownCheck is the OP's own check page, which nobody is to see: it says changed, always.
func (o *scriptedOP) ownCheck(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<script>onmessage = (event) => event.source.postMessage('changed', event.origin)</script>")
}
