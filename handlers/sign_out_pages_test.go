package handlers

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const elsewhere = "https://user:pw@rp.example.com:8443/elsewhere?token=secret-1#secret-2"

var backLink = regexp.MustCompile(`<a class="button" href="([^"]*)">Back to ([^<]*)</a>`)

// back is the link of a page back to the app, and its text; empty: there is none.
func back(page string) (address, name string) {
	found := backLink.FindStringSubmatch(page)
	if found == nil {
		return "", ""
	}
	return html.UnescapeString(found[1]), html.UnescapeString(found[2])
}

// withOutcome are the lines that the log has of requests that came to an end.
func (x *exit) withOutcome(outcome string) []map[string]any {
	var lines []map[string]any
	for _, entry := range x.w.logs.FilterMessage("end_session").FilterField(zap.String("outcome", outcome)).All() {
		fields := entry.ContextMap()
		fields["level"] = entry.Level
		lines = append(lines, fields)
	}
	return lines
}

func TestWhoIsSignedOutAlreadyIsToldSoAndThatTheyWereNotSentOn(t *testing.T) {
	for name, prepare := range map[string]func(x *exit){
		"never signed in": func(*exit) {},
		"signed out": func(x *exit) {
			x.signedIn(clientID, "alice")
			x.ask(values("id_token_hint", x.hint(clientID, "alice")))
		},
		"signed out, with the cookies of before": func(x *exit) {
			x.signedIn(clientID, "alice")
			before := x.cookies[x.w.op.cookies.session]
			x.ask(values("id_token_hint", x.hint(clientID, "alice")))
			x.cookies[x.w.op.cookies.session] = before
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			prepare(x)
			hint := x.hint(clientID, "alice")
			got := x.ask(values("id_token_hint", hint, "post_logout_redirect_uri", elsewhere, "state", "secret-3"))
			page := readAll(t, got.Body)
			if got.StatusCode != http.StatusOK || !strings.Contains(page, "<h1>You are signed out") ||
				!strings.Contains(page, "You were not sent on: the app asked for an address at rp.example.com that is not registered for it.") {
				t.Errorf("got %s %s", got.Status, page)
			}
			if strings.Contains(page, "You were not signed out") || strings.Contains(page, "secret") || strings.Contains(page, "8443") || strings.Contains(page, hint) {
				t.Errorf("it says %s", page)
			}
			if address, app := back(page); address != "https://rp.example.com/" || app != "The Shop" {
				t.Errorf("back to %q, %q", address, app)
			}
			lines := x.withOutcome("refused")
			if len(lines) != 1 || lines[0]["level"] != zapcore.WarnLevel || lines[0]["client_id"] != clientID ||
				lines[0]["post_logout_redirect_uri"] != "https://rp.example.com:8443/elsewhere" || lines[0]["why"] != "it is not registered for the client" ||
				lines[0]["advice"] != "register the address for the client exactly as it is sent, or mend the app" {
				t.Errorf("the log says %v", lines)
			}
			if logged := x.w.logged(); strings.Contains(logged, "secret") || strings.Contains(logged, "user:pw") || strings.Contains(logged, hint) {
				t.Errorf("the log says %s", logged)
			}
		})
	}
}

func TestWhoIsSignedInIsOfferedToSignOutAndToldThatTheyWereNotSentOn(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", elsewhere)
	got := x.ask(request)
	page := readAll(t, got.Body)
	if got.StatusCode != http.StatusBadRequest || !strings.Contains(page, "to an address at rp.example.com that is not registered for it. You were not signed out.") {
		t.Errorf("got %s %s", got.Status, page)
	}
	if address, app := back(page); address != "https://rp.example.com/" || app != "The Shop" {
		t.Errorf("back to %q, %q", address, app)
	}
	page = readAll(t, x.answer(x.ask(request), answerSignOut).Body)
	if !strings.Contains(page, "<h1>You are signed out") || !strings.Contains(page, "You were not sent on: the app asked for an address at rp.example.com") {
		t.Errorf("after yes: %s", page)
	}
	x.mustBe(false)
}

func TestErrorsSayWhetherTheUserIsSignedIn(t *testing.T) {
	crossSite := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader("id_token_hint=x"))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		return r
	}
	link := func() *http.Request {
		return httptest.NewRequest(http.MethodGet, issuer+endSession+"?id_token_hint=x", nil)
	}
	for _, tt := range []struct {
		name     string
		signedIn bool
		request  func() *http.Request
		want     string
	}{
		{"signed in", true, link, "cannot follow. You were not signed out.</p>"},
		{"signed out", false, link, "cannot follow. You are not signed in to op.example.com.</p>"},
		{"a POST that comes without cookies", false, crossSite, "cannot follow. Nothing was changed.</p>"},
	} {
		x := newExit(t)
		if tt.signedIn {
			x.signedIn(clientID, "alice")
		}
		if page := readAll(t, x.once(tt.request()).Body); !strings.Contains(page, tt.want) {
			t.Errorf("%s: %s", tt.name, page)
		}
	}
}

func TestSignOutsThatAreRefusedOrFailAreWarnings(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", byeQuery)
	x.status = http.StatusInternalServerError
	x.ask(request)
	x.ask(values("client_id", strings.Repeat("x", maxClientID+1)))
	x.ask(values("client_id", "nobody", "post_logout_redirect_uri", "javascript:alert(1)"))
	x.status = http.StatusFound
	x.signedIn(clientID, "alice")
	x.ask(request)
	failed, refused, done := x.withOutcome("failed"), x.withOutcome("refused"), x.withOutcome("signed out")
	if len(failed) != 1 || failed[0]["level"] != zapcore.WarnLevel || failed[0]["client_id"] != clientID || failed[0]["post_logout_redirect_uri"] != bye {
		t.Errorf("failed: %v", failed)
	}
	if len(refused) != 2 || refused[0]["level"] != zapcore.WarnLevel || refused[0]["client_id"] != "" || refused[1]["client_id"] != "nobody" ||
		refused[1]["post_logout_redirect_uri"] != "javascript:" || refused[1]["why"] != "the client is not known here" ||
		refused[1]["advice"] != "configure the client with this post_logout_redirect_uri" {
		t.Errorf("refused: %v", refused)
	}
	if len(done) != 1 || done[0]["level"] != zapcore.InfoLevel {
		t.Errorf("signed out: %v", done)
	}
}

func TestTheLogSaysWhyNobodyIsSentBackByARequestThatNamesNoClient(t *testing.T) {
	x := newExit(t)
	x.ask(values("post_logout_redirect_uri", elsewhere))
	x.ask(values("post_logout_redirect_uri", bye, "client_id", clientID))
	x.ask(nil)
	lines := x.w.logs.FilterMessage("logout request names no client").All()
	if len(lines) != 1 || lines[0].Level != zapcore.WarnLevel || lines[0].ContextMap()["post_logout_redirect_uri"] != "https://rp.example.com:8443/elsewhere" {
		t.Errorf("the log says %v", lines)
	}
}

func TestPagesLinkBackToTheApp(t *testing.T) {
	const app = "https://app.example.com/bye"
	listed := []Client{
		{ID: clientID, Name: "The Shop", PostLogoutRedirectURIs: []string{bye}},
		{ID: "plain", PostLogoutRedirectURIs: []string{app}},
		{ID: "native", Name: "Native", PostLogoutRedirectURIs: []string{"com.example.app:/bye"}},
		{ID: "both", Name: "Both", PostLogoutRedirectURIs: []string{"com.example.app:/bye"}, FrontChannelLogoutURI: "https://both.example.com:8443/out?a"},
		{ID: "back", Name: "Back", BackChannelLogoutURI: "https://internal.example.com/out"},
	}
	for _, tt := range []struct {
		name, client, redirect string
		hinted                 bool
		address, label         string
	}{
		{"the address that was asked for", clientID, bye, false, bye, "The Shop"},
		{"an app without a name", "plain", app, false, app, "app.example.com"},
		{"the app's own origin", clientID, "", false, "https://rp.example.com/", "The Shop"},
		{"not to a native app", "native", "com.example.app:/bye", true, "", ""},
		{"to the web pages of a native app", "both", "com.example.app:/bye", true, "https://both.example.com:8443/", "Both"},
		{"not to where servers talk", "back", "", true, "", ""},
		{"not to nobody", "", "", false, "", ""},
		{"not to an unknown app", "nobody", "", false, "", ""},
		{"not to an unknown app with a hint", "nobody", "", true, "", ""},
		{"not to one that registered itself, by a link", "self", "https://self.example/bye", false, "", ""},
		{"to one that registered itself, by a hint", "self", "https://self.example/bye", true, "https://self.example/bye", "self.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExit(t, func(e *EndSession) { e.Clients, e.Confirm = &Clients{List: listed}, ConfirmAlways })
			x.w.register(t, "self", `{"client_id":"self","client_name":"Your Bank","post_logout_redirect_uris":["https://self.example/bye"]}`)
			x.signedIn(clientID, "alice")
			request := values("client_id", tt.client, "post_logout_redirect_uri", tt.redirect, "state", "1")
			if tt.hinted {
				request.Set("id_token_hint", x.hint(tt.client, "alice"))
			}
			stayed := readAll(t, x.answer(x.ask(request), answerStay).Body)
			if address, label := back(stayed); !strings.Contains(stayed, "<h1>You are still signed in") || address != tt.address || label != tt.label {
				t.Errorf("to %q, %q: %s", address, label, stayed)
			}
		})
	}
}

func TestAClientThatNobodyVouchesForGoesByItsHost(t *testing.T) {
	x := newExit(t)
	x.w.register(t, "self", `{"client_id":"self","client_name":"Your Bank","post_logout_redirect_uris":["https://self.example/your-bank"]}`)
	for _, client := range []string{"self", "https://bank.example/Your-Bank-calls", clientID} {
		x.signedIn(client, "alice")
	}
	for client, want := range map[string]string{
		"self": "self.example asks", "https://bank.example/Your-Bank-calls": "bank.example asks", clientID: "The Shop asks",
	} {
		hint := x.hint(client, "bob") // who is not signed in: the user is asked
		if page := readAll(t, x.ask(values("id_token_hint", hint)).Body); !strings.Contains(page, "<p>"+want) || strings.Contains(page, "Bank") {
			t.Errorf("%s: %s", client, page)
		}
	}
	page := readAll(t, x.answer(x.ask(nil), answerSignOut).Body)
	onReceipt(t, page, map[string][]string{"cannot be told": {"self.example", "bank.example", "The Shop"}})
}

func TestPagesCallTheOPByItsNameOrItsHostWithoutPort(t *testing.T) {
	for origin, want := range map[string]string{"https://op.example.com:8443": "op.example.com", "https://[2001:db8::1]:8443": "2001:db8::1", issuer: "op.example.com"} {
		op, err := newOP(origin)
		if err != nil {
			t.Fatal(err)
		}
		if got := new(EndSession).opName(op); got != want {
			t.Errorf("%s: %q", origin, got)
		}
	}
	x := newExit(t, framed, func(e *EndSession) { e.Name = "Example ID" })
	x.signedIn(clientID, "alice")
	question := readAll(t, x.ask(nil).Body)
	frames := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
	for _, page := range []string{question, frames, x.reads(x.next(frames))} {
		if !strings.Contains(page, `<p class="issuer">Example ID</p>`) || strings.Contains(page, ">op.example.com<") || strings.Contains(page, "to op.example.com") {
			t.Errorf("%s", page)
		}
	}
}

func TestTheAppThatAsksIsNotAmongThoseThatCannotBeNotified(t *testing.T) {
	clients := func(e *EndSession) {
		e.Clients = &Clients{List: []Client{
			{ID: clientID, Name: "The Shop"}, {ID: "wiki", Name: "The Wiki"}, {ID: "told", Name: "Told", BackChannelLogoutURI: "https://told.example.com/"},
		}}
	}
	notice := func(x *exit, outcome registry.Outcome) {
		x.e.BackChannel.Settled = func() <-chan struct{} {
			settled := make(chan struct{})
			close(settled)
			x.settle("told", outcome)
			return settled
		}
	}
	for _, tt := range []struct {
		name, asks string
		outcome    *registry.Outcome
		want       map[string][]string
	}{
		{"one without a channel", clientID, nil, map[string][]string{"cannot be told": {"The Wiki"}, "not be reached yet": {"Told"}}},
		{"one that is not tried yet", "told", nil, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}}},
		{"one that failed", "told", &registry.Outcome{Dead: true}, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "could not be signed out of": {"Told"}}},
		{"one that was notified", "told", &registry.Outcome{Delivered: true}, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "You were signed out": {"Told"}}},
		{"one that is named by a link only", "", nil, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "not be reached yet": {"Told"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExit(t, clients)
			x.w.tells, x.e.BackChannel.Configured = true, true
			for _, client := range []string{clientID, "wiki", "told"} {
				x.signedIn(client, "alice")
			}
			if tt.outcome != nil {
				notice(x, *tt.outcome)
			}
			var page string
			if tt.asks == "" {
				page = readAll(t, x.answer(x.ask(values("client_id", clientID)), answerSignOut).Body)
			} else {
				page = readAll(t, x.ask(values("id_token_hint", x.hint(tt.asks, "alice"))).Body)
			}
			onReceipt(t, page, tt.want)
		})
	}
}

func TestOnlyTheHostOfAnAddressIsShownAsBrowsersReadIt(t *testing.T) {
	for address, want := range map[string]string{
		"https://rp.example.com/x": "rp.example.com", "HTTPS://RP.example.com:443/": "rp.example.com", "http://rp.example.com": "rp.example.com",
		"https://rp.example.com@evil.example/": "evil.example", "https://user:pw@evil.example/": "evil.example",
		"https://bücher.example/": "xn--bcher-kva.example", "https://%C3%BC.example/": "xn--tda.example", "https://[2001:DB8::1]:8443/": "2001:db8::1",
		"https://ev\u202eil.example/": "", "https://" + strings.Repeat("a.", 60) + "evil.example/": "…" + (strings.Repeat("a.", 60) + "evil.example")[132-63:],
		"javascript:alert(1)": "", "com.example.app:/": "", "/path": "", "//evil.example/": "", "https:evil": "", `https://rp.example.com\@evil.example/`: "",
		"https://rp.example.com<b>/": "", "https:///": "", "": "", "https://x\x00.example/": "",
	} {
		if got := shownHost(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestTheLogHasNothingSecretOfAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"https://user:pw@rp.example.com:8443/elsewhere?token=secret-1#secret-2": "https://rp.example.com:8443/elsewhere", "javascript:secret": "javascript:", "/a?secret#secret": "/a", "https://secret@rp.example.com": "https://rp.example.com",
		"https://rp.example.com/%zz?secret": "not a URL", "mailto:secret": "mailto:", "//user:secret@host/x": "//host/x",
	} {
		if got := loggedAddress(address); got != want {
			t.Errorf("%q: %q", address, got)
		}
	}
	if got := loggedAddress("https://rp.example.com/" + strings.Repeat("x", 10_000)); len([]rune(got)) != maxLogged {
		t.Errorf("%d characters", len(got))
	}
}

func TestNamesThatPagesCannotShowAreRefused(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "Example ID": true, "Ünïcode & Söhne": true, strings.Repeat("x", 100): true,
		strings.Repeat("x", 101): false, "a\nb": false, "a\u202eb": false, "a\u200bb": false, " ": false, "a  b": false,
	} {
		if err := ValidateName(name); good != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
