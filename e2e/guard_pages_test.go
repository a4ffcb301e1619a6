package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
)

// TestPagesBehindTheGuardInChromium is about what pages do by themselves: many requests at once,
// and streams.
func TestPagesBehindTheGuardInChromium(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	s := startGuardedSite(t, "adopt 0",
		expressOpenIDConnect("eoc", "code", "appSession"), expressOpenIDConnect("eoc-chunked", "chunked", "appSession.0"), scsApp(), gorillaApp())
	alice, bob := s.newVisitor(t, "alice"), s.newVisitor(t, "bob")
	alice.signInInTabs(t, s.app(t, "eoc"), s.app(t, "go-scs"))
	for _, name := range []string{"eoc-chunked", "go-gorilla"} {
		alice.signIn(t, s.app(t, name))
	}
	for _, name := range []string{"eoc", "eoc-chunked", "go-gorilla"} {
		alice.expectNoneRefused(t, s.app(t, name))
	}

	scs := s.app(t, "go-scs")
	bob.signIn(t, scs)
	hers, his := alice.openStreams(t, scs.origin+scs.private), bob.openStreams(t, scs.origin+scs.private)
	anonymous := bob.openStreams(t, s.app(t, "go-gorilla").origin+"/")
	alice.signOut(t)
	ended := s.endedAt(t)
	hers.waitFor(t, "'events' in closedAt && 'socket' in closedAt")
	for stream, at := range eval[map[string]float64](t, hers, "closedAt") {
		after := at/1000 - ended
		t.Logf("%s was closed %.3f s after the end of the session", stream, after)
		if after > 1 {
			t.Errorf("%s was closed %.3f s after the end of the session", stream, after)
		}
	}
	for name, page := range map[string]*tab{"bob's": his, "anonymous": anonymous} {
		if err := page.streamsGoOn(t); err != nil {
			t.Errorf("%s streams: %v", name, err)
		}
	}
	for _, app := range s.apps {
		if alice.isIn(t, app) {
			t.Errorf("%s lets her in after the sign-out", app.name)
		}
	}
}

// endedAt is when the first session ended, in seconds, by the log.
func (s *guardedSite) endedAt(t *testing.T) float64 {
	t.Helper()
	var entry struct {
		Message   string  `json:"msg"`
		Timestamp float64 `json:"ts"`
	}
	s.caddy.waitLine(t, "the end of the session", func(line string) (string, bool) {
		return line, json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "session ended"
	})
	return entry.Timestamp
}

// signInInTabs opens the OP's login page in a tab for each app before anything is entered.
func (v *visitor) signInInTabs(t *testing.T, apps ...*runningApp) {
	t.Helper()
	var tabs []*tab
	for _, app := range apps {
		page := v.browser.open(t, app.origin+app.signIn)
		page.waitFor(t, "document.querySelector('button[name=user]') !== null")
		tabs = append(tabs, page)
	}
	for i, page := range tabs {
		clickUser(t, page, v.user)
		page.waitFor(t, back(apps[i]))
	}
	for _, app := range apps {
		if !v.isIn(t, app) {
			t.Errorf("after sign-ins in several tabs she is not signed in to %s", app.name)
		}
	}
}

// expectNoneRefused sends many requests to an app whose cookie changes with each response, several
// at once.
func (v *visitor) expectNoneRefused(t *testing.T, app *runningApp) {
	t.Helper()
	v.page.navigate(t, app.origin+app.private)
	before := v.session(t, app)
	refused := eval[int](t, v.page, fmt.Sprintf(`(async () => {
		let sent = 0, refused = 0;
		const one = async () => {
			while (sent++ < 200) {
				const text = await fetch(%q).then((response) => response.text()).catch(() => '');
				if (!text.includes('user: alice')) refused++;
			}
		};
		await Promise.all(Array.from({length: 8}, one));
		return refused;
	})()`, app.private))
	if refused != 0 {
		t.Errorf("of 200 requests to %s, 8 at a time, %d were refused", app.name, refused)
	}
	if after := v.session(t, app); before == nil || after == nil || before.Value == after.Value {
		t.Errorf("the cookie of %s has not changed: this test shows nothing", app.name)
	}
}

// openStreams opens an event stream and a WebSocket in a page of a Go app.
func (v *visitor) openStreams(t *testing.T, address string) *tab {
	t.Helper()
	page := v.browser.open(t, address)
	page.run(t, "opening streams", evaluate(`
		window.closedAt = {}, window.events = 0, window.echoes = 0;
		window.source = new EventSource('/events');
		source.onmessage = () => events++;
		source.onerror = () => { closedAt.events ??= Date.now(); source.close(); };
		window.socket = new WebSocket('wss://' + location.host + '/ws');
		socket.onopen = () => socket.send('hello');
		socket.onmessage = () => echoes++;
		socket.onclose = () => closedAt.socket ??= Date.now();
	`))
	page.waitFor(t, "events > 0 && echoes > 0")
	return page
}

// streamsGoOn reports whether both streams are open.
func (p *tab) streamsGoOn(t *testing.T) error {
	t.Helper()
	p.run(t, "sending", evaluate("window.events = 0, window.echoes = 0, socket.readyState === 1 && socket.send('still there')"))
	p.waitFor(t, "events > 5 && echoes > 0 || Object.keys(closedAt).length > 0")
	if closed := eval[map[string]float64](t, p, "closedAt"); len(closed) != 0 {
		return fmt.Errorf("closed are %v", closed)
	}
	return nil
}
