package logout_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestARegisteredNameIsNotShown(t *testing.T) {
	o := handlerstest.NewRegistrar(t)
	for _, name := range []string{"Your Bank", "signed out. Call +1 555 0100", "\u202egnoW"} {
		_, answer := o.Send("POST", handlerstest.RegistrationPath, `{"client_name":"`+name+`","redirect_uris":["https://rp.example.com/cb"]}`)
		id := fmt.Sprint(answer["client_id"])
		client, known := o.Find(id)
		if !known || client.Name != "" {
			t.Errorf("%s: known %v: %+v", name, known, client)
		}
		end := &logout.EndSession{Clients: o.G.Clients}
		r := httptest.NewRequest("GET", handlerstest.Issuer+"/", nil)
		if got := end.ShownClient(o.W.OP, r, id); got != id {
			t.Errorf("the question names %q", got)
		}
	}
}

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

func TestWhoIsSignedOutAlreadyIsToldSoAndThatTheyWereNotSentOn(t *testing.T) {
	for name, prepare := range map[string]func(x *handlerstest.Exit){
		"never signed in": func(*handlerstest.Exit) {},
		"signed out": func(x *handlerstest.Exit) {
			x.SignedIn(handlerstest.ClientID, "alice")
			x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
		},
		"signed out, with the cookies of before": func(x *handlerstest.Exit) {
			x.SignedIn(handlerstest.ClientID, "alice")
			before := x.Cookies[x.W.OP.Cookies.Session]
			x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
			x.Cookies[x.W.OP.Cookies.Session] = before
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			prepare(x)
			hint := x.Hint(handlerstest.ClientID, "alice")
			got := x.Ask(handlerstest.Values("id_token_hint", hint, "post_logout_redirect_uri", elsewhere, "state", "secret-3"))
			page := reply.ReadAll(t, got.Body)
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
			lines := x.WithOutcome("refused")
			if len(lines) != 1 || lines[0]["level"] != zapcore.WarnLevel || lines[0]["client_id"] != handlerstest.ClientID ||
				lines[0]["post_logout_redirect_uri"] != "https://rp.example.com:8443/elsewhere" || lines[0]["why"] != "it is not registered for the client" ||
				lines[0]["advice"] != "register the address for the client exactly as it is sent, or mend the app" {
				t.Errorf("the log says %v", lines)
			}
			if logged := x.W.Logged(); strings.Contains(logged, "secret") || strings.Contains(logged, "user:pw") || strings.Contains(logged, hint) {
				t.Errorf("the log says %s", logged)
			}
		})
	}
}

func TestWhoIsSignedInIsOfferedToSignOutAndToldThatTheyWereNotSentOn(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", elsewhere)
	got := x.Ask(request)
	page := reply.ReadAll(t, got.Body)
	if got.StatusCode != http.StatusBadRequest || !strings.Contains(page, "to an address at rp.example.com that is not registered for it. You were not signed out.") {
		t.Errorf("got %s %s", got.Status, page)
	}
	if address, app := back(page); address != "https://rp.example.com/" || app != "The Shop" {
		t.Errorf("back to %q, %q", address, app)
	}
	page = reply.ReadAll(t, x.Answer(x.Ask(request), logout.AnswerSignOut).Body)
	if !strings.Contains(page, "<h1>You are signed out") || !strings.Contains(page, "You were not sent on: the app asked for an address at rp.example.com") {
		t.Errorf("after yes: %s", page)
	}
	x.MustBe(false)
}

func TestErrorsSayWhetherTheUserIsSignedIn(t *testing.T) {
	crossSite := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader("id_token_hint=x"))
		r.Header.Set("Content-Type", exchange.FormType)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		return r
	}
	link := func() *http.Request {
		return httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint=x", nil)
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
		x := handlerstest.NewExit(t)
		if tt.signedIn {
			x.SignedIn(handlerstest.ClientID, "alice")
		}
		if page := reply.ReadAll(t, x.Once(tt.request()).Body); !strings.Contains(page, tt.want) {
			t.Errorf("%s: %s", tt.name, page)
		}
	}
}

func TestSignOutsThatAreRefusedOrFailAreWarnings(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.ByeQuery)
	x.Status = http.StatusInternalServerError
	x.Ask(request)
	x.Ask(handlerstest.Values("client_id", strings.Repeat("x", handlers.MaxClientID+1)))
	x.Ask(handlerstest.Values("client_id", "nobody", "post_logout_redirect_uri", "javascript:alert(1)"))
	x.Status = http.StatusFound
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Ask(request)
	failed, refused, done := x.WithOutcome("failed"), x.WithOutcome("refused"), x.WithOutcome("signed out")
	if len(failed) != 1 || failed[0]["level"] != zapcore.WarnLevel || failed[0]["client_id"] != handlerstest.ClientID || failed[0]["post_logout_redirect_uri"] != handlerstest.Bye {
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
	x := handlerstest.NewExit(t)
	x.Ask(handlerstest.Values("post_logout_redirect_uri", elsewhere))
	x.Ask(handlerstest.Values("post_logout_redirect_uri", handlerstest.Bye, "client_id", handlerstest.ClientID))
	x.Ask(nil)
	lines := x.W.Logs.FilterMessage("logout request names no client").All()
	if len(lines) != 1 || lines[0].Level != zapcore.WarnLevel || lines[0].ContextMap()["post_logout_redirect_uri"] != "https://rp.example.com:8443/elsewhere" {
		t.Errorf("the log says %v", lines)
	}
}

func TestPagesLinkBackToTheApp(t *testing.T) {
	const app = "https://app.example.com/bye"
	listed := []clients.Client{
		{ID: handlerstest.ClientID, Name: "The Shop", PostLogoutRedirectURIs: []string{handlerstest.Bye}},
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
		{"the address that was asked for", handlerstest.ClientID, handlerstest.Bye, false, handlerstest.Bye, "The Shop"},
		{"an app without a name", "plain", app, false, app, "app.example.com"},
		{"the app's own origin", handlerstest.ClientID, "", false, "https://rp.example.com/", "The Shop"},
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
			x := handlerstest.NewExit(t, func(e *logout.EndSession) {
				e.Clients, e.Confirm = &clients.Clients{List: listed}, logout.ConfirmAlways
			})
			x.W.Register(t, "self", `{"client_id":"self","client_name":"Your Bank","post_logout_redirect_uris":["https://self.example/bye"]}`)
			x.SignedIn(handlerstest.ClientID, "alice")
			request := handlerstest.Values("client_id", tt.client, "post_logout_redirect_uri", tt.redirect, "state", "1")
			if tt.hinted {
				request.Set("id_token_hint", x.Hint(tt.client, "alice"))
			}
			stayed := reply.ReadAll(t, x.Answer(x.Ask(request), logout.AnswerStay).Body)
			if address, label := back(stayed); !strings.Contains(stayed, "<h1>You are still signed in") || address != tt.address || label != tt.label {
				t.Errorf("to %q, %q: %s", address, label, stayed)
			}
		})
	}
}

func TestAClientThatNobodyVouchesForGoesByItsHost(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.W.Register(t, "self", `{"client_id":"self","client_name":"Your Bank","post_logout_redirect_uris":["https://self.example/your-bank"]}`)
	for _, client := range []string{"self", "https://bank.example/Your-Bank-calls", handlerstest.ClientID} {
		x.SignedIn(client, "alice")
	}
	for client, want := range map[string]string{
		"self": "self.example asks", "https://bank.example/Your-Bank-calls": "bank.example asks", handlerstest.ClientID: "The Shop asks",
	} {
		hint := x.Hint(client, "bob") // who is not signed in: the user is asked
		if page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", hint)).Body); !strings.Contains(page, "<p>"+want) || strings.Contains(page, "Bank") {
			t.Errorf("%s: %s", client, page)
		}
	}
	page := reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body)
	handlerstest.OnReceipt(t, page, map[string][]string{"cannot be told": {"self.example", "bank.example", "The Shop"}})
}

func TestPagesCallTheOPByItsNameOrItsHostWithoutPort(t *testing.T) {
	for origin, want := range map[string]string{"https://op.example.com:8443": "op.example.com", "https://[2001:db8::1]:8443": "2001:db8::1", handlerstest.Issuer: "op.example.com"} {
		op, err := handlers.NewOP(origin)
		if err != nil {
			t.Fatal(err)
		}
		if got := new(logout.EndSession).OPName(op); got != want {
			t.Errorf("%s: %q", origin, got)
		}
	}
	x := handlerstest.NewExit(t, framed, func(e *logout.EndSession) { e.Name = "Example ID" })
	x.SignedIn(handlerstest.ClientID, "alice")
	question := reply.ReadAll(t, x.Ask(nil).Body)
	frames := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
	for _, page := range []string{question, frames, x.Reads(x.Next(frames))} {
		if !strings.Contains(page, `<p class="issuer">Example ID</p>`) || strings.Contains(page, ">op.example.com<") || strings.Contains(page, "to op.example.com") {
			t.Errorf("%s", page)
		}
	}
}

func TestTheAppThatAsksIsNotAmongThoseThatCannotBeNotified(t *testing.T) {
	clients := func(e *logout.EndSession) {
		e.Clients = &clients.Clients{List: []clients.Client{
			{ID: handlerstest.ClientID, Name: "The Shop"}, {ID: "wiki", Name: "The Wiki"}, {ID: "told", Name: "Told", BackChannelLogoutURI: "https://told.example.com/"},
		}}
	}
	notice := func(x *handlerstest.Exit, outcome registry.Outcome) {
		x.E.BackChannel.Recorded = func() <-chan struct{} {
			settled := make(chan struct{})
			close(settled)
			x.RecordOutcomes("told", outcome)
			return settled
		}
	}
	for _, tt := range []struct {
		name, asks string
		outcome    *registry.Outcome
		want       map[string][]string
	}{
		{"one without a channel", handlerstest.ClientID, nil, map[string][]string{"cannot be told": {"The Wiki"}, "not be reached yet": {"Told"}}},
		{"one that is not tried yet", "told", nil, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}}},
		{"one that failed", "told", &registry.Outcome{Dead: true}, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "could not be signed out of": {"Told"}}},
		{"one that was notified", "told", &registry.Outcome{Delivered: true}, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "You were signed out": {"Told"}}},
		{"one that is named by a link only", "", nil, map[string][]string{"cannot be told": {"The Shop", "The Wiki"}, "not be reached yet": {"Told"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := handlerstest.NewExit(t, clients)
			x.W.Tells, x.E.BackChannel.Configured = true, true
			for _, client := range []string{handlerstest.ClientID, "wiki", "told"} {
				x.SignedIn(client, "alice")
			}
			if tt.outcome != nil {
				notice(x, *tt.outcome)
			}
			var page string
			if tt.asks == "" {
				page = reply.ReadAll(t, x.Answer(x.Ask(handlerstest.Values("client_id", handlerstest.ClientID)), logout.AnswerSignOut).Body)
			} else {
				page = reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(tt.asks, "alice"))).Body)
			}
			handlerstest.OnReceipt(t, page, tt.want)
		})
	}
}

func TestAGuardedAppIsAmongThoseThatTheUserIsSignedOutOf(t *testing.T) {
	for guarded, want := range map[string]map[string][]string{
		handlerstest.RpOrigin:       {"You were signed out": {"The Shop"}},
		"https://other.example.com": {"cannot be told": {"The Shop"}},
	} {
		x := handlerstest.NewExit(t)
		x.W.Env.IsGuarded = func(origin string) bool { return origin == guarded }
		x.SetUp()
		x.SignedIn(handlerstest.ClientID, "alice")
		handlerstest.OnReceipt(t, reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body), want)
	}
}

func TestNamesThatPagesCannotShowAreRefused(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "Example ID": true, "Ünïcode & Söhne": true, strings.Repeat("x", 100): true,
		strings.Repeat("x", 101): false, "a\nb": false, "a\u202eb": false, "a\u200bb": false, " ": false, "a  b": false,
	} {
		if err := logout.ValidateName(name); good != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
