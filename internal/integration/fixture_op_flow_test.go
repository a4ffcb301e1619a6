package integration

import (
	"crypto/rand"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ownSessionState is that of an OP which has session management of its own.
const ownSessionState = "of.the-OP"

// A ticket is a flow on its way through the OP's own redirects.
type ticket struct {
	query   url.Values // of the authorization request
	login   *login
	account account
	hops    int // yet to go
}

// authorize answers at once with single sign-on, or sends the browser to the login page.
func (op *scriptedOP) authorize(w http.ResponseWriter, r *http.Request) {
	if below := op.at("/authorize"); op.traits.prefix+r.URL.Path != below { // where the login cookie is
		http.Redirect(w, r, below+"?"+r.URL.RawQuery, http.StatusFound)
		return
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	query := r.URL.Query()
	current := op.current(r)
	chosen, signedIn := op.choose(current, query.Get("id_token_hint"), query.Get("login_hint"))
	switch {
	case query.Get("redirect_uri") == "https://refused.example/cb":
		http.Error(w, "no such redirect URI", http.StatusBadRequest)
	case signedIn && query.Get("prompt") != "login":
		op.proceed(w, r, &ticket{query: query, login: current, account: chosen})
	case query.Get("prompt") == "none":
		if op.traits.cleansFrames && len(current.accounts) == 0 && r.Header.Get("Sec-Fetch-Dest") == "iframe" {
			op.deleteCookie(w)
		}
		op.respond(w, r, query, url.Values{"error": {"login_required"}})
	default:
		page := op.at("/signin")
		if op.traits.loginHost {
			page = op.frontURL() + page
		}
		http.Redirect(w, r, page+"?return="+url.QueryEscape(r.URL.RawQuery), http.StatusFound)
	}
}

// frontURL is the other host.
func (op *scriptedOP) frontURL() string {
	if op.front == nil {
		return "https://front.example"
	}
	return op.front.URL
}

func (op *scriptedOP) loginPage(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `Who are you? <form method="post" action="%s">`, op.at("/login"))
}

// login signs a user in. On another host than the OP's own, the browser has to go back to that first.
func (op *scriptedOP) login(w http.ResponseWriter, r *http.Request) {
	query, _ := url.ParseQuery(r.FormValue("return"))
	user := r.FormValue("user")
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.traits.loginHost {
		op.redirect(w, r, op.issuer+op.at("/established"), &ticket{query: query, account: account{user: user}})
		return
	}
	op.establish(w, r, query, user)
}

func (op *scriptedOP) established(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	defer op.mu.Unlock()
	if t := op.take(w, r); t != nil {
		op.establish(w, r, t.query, t.account.user)
	}
}

// establish makes the browser one that user is signed in at.
func (op *scriptedOP) establish(w http.ResponseWriter, r *http.Request, query url.Values, user string) {
	current := op.current(r)
	_, again := op.choose(current, "", user)
	if op.traits.switching == deletedFirst && current.cookie != "" && !again {
		delete(op.logins, current.cookie)
		op.deleteCookie(w)
		op.redirect(w, r, op.at("/established"), &ticket{query: query, account: account{user: user}})
		return
	}
	l := op.signIn(current, user)
	op.proceed(w, r, &ticket{query: query, login: l, account: l.accounts[0]})
}

// proceed sets the login cookie and answers, or leads to the answer.
func (op *scriptedOP) proceed(w http.ResponseWriter, r *http.Request, t *ticket) {
	op.setCookie(w, t.login)
	switch op.traits.cookie {
	case oneHopEarlier:
		t.hops = 1
	case twoHopsEarlier:
		t.hops = 2
	case onAnswer, neverSet:
		op.answer(w, r, t)
		return
	}
	op.redirect(w, r, op.at("/hop"), t)
}

func (op *scriptedOP) hop(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	defer op.mu.Unlock()
	t := op.take(w, r)
	if t == nil {
		return
	}
	if t.hops--; t.hops > 0 {
		op.redirect(w, r, op.at("/hop"), t)
		return
	}
	op.answer(w, r, t)
}

func (op *scriptedOP) redirect(w http.ResponseWriter, r *http.Request, to string, t *ticket) {
	id := rand.Text()
	op.tickets[id] = t
	http.Redirect(w, r, to+"?ticket="+id, http.StatusFound)
}

func (op *scriptedOP) take(w http.ResponseWriter, r *http.Request) *ticket {
	id := r.FormValue("ticket")
	t := op.tickets[id]
	delete(op.tickets, id)
	if t == nil {
		http.Error(w, "no such ticket", http.StatusBadRequest)
	}
	return t
}

// answer gives what the response type asks for.
func (op *scriptedOP) answer(w http.ResponseWriter, r *http.Request, t *ticket) {
	types := strings.Fields(t.query.Get("response_type"))
	g := grant{user: t.account.user, clientID: t.query.Get("client_id"), sid: t.account.sid, challenge: t.query.Get("code_challenge")}
	if op.traits.codeLifetime != 0 {
		g.expires = op.now().Add(op.traits.codeLifetime)
	}
	values := url.Values{"iss": {op.issuerOf(g.clientID)}}
	if len(types) == 0 || slices.Contains(types, "code") {
		code := rand.Text()
		op.codes[code] = g
		values.Set("code", code)
	}
	if slices.Contains(types, "id_token") {
		values.Set("id_token", op.idToken(g))
	}
	if slices.Contains(types, "token") {
		values.Set("access_token", rand.Text())
		values.Set("token_type", "Bearer")
	}
	if op.traits.otherCookie {
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: rand.Text(), Path: "/"})
	}
	op.respond(w, r, t.query, values)
}

// respond sends an authorization response in the response mode that a request asks for.
func (op *scriptedOP) respond(w http.ResponseWriter, r *http.Request, query, values url.Values) {
	if query.Has("state") {
		values.Set("state", query.Get("state"))
	}
	if op.traits.ownSessionState || op.traits.ownCheckPage && !values.Has("error") {
		values.Set("session_state", ownSessionState)
	}
	mode, target := query.Get("response_mode"), query.Get("redirect_uri")
	if responseType := query.Get("response_type"); mode == "" && responseType != "" && responseType != "code" && responseType != "none" {
		mode = "fragment"
	}
	switch mode {
	case "form_post":
		w.Header().Set("Content-Type", "text/html")
		if op.traits.untypedPages {
			w.Header()["Content-Type"] = nil // or net/http would make one
		}
		fmt.Fprintf(w, `<body onload="document.forms[0].submit()"><form method="post" action="%s">`, html.EscapeString(target))
		for name := range values {
			fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s"/>`, name, html.EscapeString(values.Get(name)))
		}
		fmt.Fprint(w, "</form></body>")
	case "fragment":
		http.Redirect(w, r, target+"#"+values.Encode(), http.StatusFound)
	default:
		join := "?"
		if strings.Contains(target, "?") { // registered with a query of its own (RFC 6749, section 3.1.2)
			join = "&"
		}
		http.Redirect(w, r, target+join+values.Encode(), http.StatusFound)
	}
}
