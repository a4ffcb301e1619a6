package integration

import (
	"net/http"
	"net/url"
	"time"
)

// A checkFrame decides as assets/check_session.js does, for one RP's frame. Its questions are answered at once.
type checkFrame struct {
	b        *browser
	s        site
	readable bool // the browser shows the page its cookie
	answers  map[string]checked
}

// checked is what the server answered to a question, and the cookie then.
type checked struct {
	word, state string
	asked       time.Time
}

const (
	keptAtMost = 12 * time.Second // a word of the server's: eight seconds, and up to a half more
	askedEvery = time.Minute      // while the cookie matches
)

// poll is one message of the RP and the page's reply, empty for silence, with the time of the last question behind it.
func (p *checkFrame) poll(a answer) (word string, asked time.Time) {
	word, rank := p.decide(a)
	asked = p.answers[a.sessionState()].asked
	if rank == 0 {
		return word, asked
	}
	now, state := p.b.now(), p.state()
	if said := p.ask(a); said != "" {
		p.answers[a.sessionState()] = checked{said, state, now}
	}
	if rank == 2 {
		word, _ = p.decide(a)
		asked = now
	}
	return word, asked
}

// decide returns the reply to a question, and how urgently the server is to be asked: 0 not at all, 1 behind the reply, 2 before.
func (p *checkFrame) decide(a answer) (word string, rank int) {
	known, state := p.answers[a.sessionState()], p.state()
	age := p.b.now().Sub(known.asked)
	switch {
	case known.word == "changed" || known.word == "error":
		return known.word, 0
	case p.readable && p.b.matches(a) && age < askedEvery:
		return "unchanged", 0
	case p.readable && p.b.matches(a):
		return "unchanged", 1
	case age >= keptAtMost || known.state != state:
		return "", 2
	case known.word == "unknown" && state != "":
		return "changed", 0
	case known.word == "unknown":
		return "", 0
	}
	return known.word, 0
}

func (p *checkFrame) state() string {
	if !p.readable {
		return ""
	}
	return p.b.state()
}

// ask asks the server; it is silent when that does not answer.
func (p *checkFrame) ask(a answer) string {
	p.b.t.Helper()
	asking := p.b.elsewhere()
	asking.header.Set("Origin", p.s.issuer)
	got := asking.post(p.s.issuer+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin}, "browser_state": {p.state()},
	})
	if got.StatusCode != http.StatusOK {
		return ""
	}
	return got.body
}
