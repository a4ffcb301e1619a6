package logout

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// maxReceipts is how many sessions one receipt is about: browsers have one, or a few that began at
// once.
const maxReceipts = 8

// A receipt says which clients of the sessions that ended were told, as far as that is known.
type receipt struct {
	issuer   string
	sessions []sessionstate.SessionID
	// in the order in which they came, those of one session after those of another
	clients []*receiptClient
	// the URLs of those that are told by front channel, as many as a page may have
	frames []string
	framed bool // the page with these was shown
	// the OP tells clients itself: what becomes of those is not known here
	native bool
}

// A receiptClient is one client of the receipt. Its ID makes it one: names are what anybody who
// registers a client likes.
type receiptClient struct {
	id, name string
	notices  []registry.NoticeID // that are owed by back channel; none: it cannot be told so
	frames   int                 // how many URLs have to be loaded; none: it cannot be told so
	cut      bool                // the page has no place for some of them
	asked    bool                // for the sign-out, by a hint of its own
}

// receiptFor collects what the clients of ended sessions are owed.
func (e *EndSession) receiptFor(l *logoutExchange, done sealedLogout) *receipt {
	r := &receipt{issuer: l.op.Issuer, framed: done.Framed && !done.Unframed, native: l.op.BackChannelLogout || l.op.FrontChannelLogout}
	r.sessions = done.sessions()
	r.sessions = r.sessions[:min(len(r.sessions), maxReceipts)]
	sessions, err := e.recorded(handlers.RecordingContext(l.r), r.sessions)
	if err != nil {
		handlers.LogUnrecorded(e.env.Logger, "which clients were told of a sign-out is not known", err)
	}
	for _, session := range sessions {
		for _, client := range session.Clients {
			e.addClient(l, r, session, client)
		}
	}
	return r
}

// recorded returns those of the sessions that are recorded.
func (e *EndSession) recorded(ctx context.Context, ids []sessionstate.SessionID) (sessions []*registry.Session, err error) {
	browsers := make(map[registry.Place][]*registry.Session)
	for _, id := range ids {
		place := registry.PlaceOfSession(id)
		browser, known := browsers[place]
		if !known {
			if browser, err = e.env.Registry.Browser(registry.Patient(ctx), place); err != nil {
				return sessions, err
			}
			browsers[place] = browser
		}
		if i := slices.IndexFunc(browser, func(s *registry.Session) bool { return s.ID == id }); i >= 0 {
			sessions = append(sessions, browser[i])
		}
	}
	return sessions, nil
}

func (e *EndSession) addClient(l *logoutExchange, r *receipt, session *registry.Session, p *registry.Client) {
	client, _ := e.Clients.Find(handlers.RecordingContext(l.r), l.op.Issuer, p.ID)
	owed := r.client(p.ID, client.ShownName(p.ID))
	owed.asked = l.request.Hinted && p.ID == l.request.ClientID
	r.addFrames(owed, e.framesOf(l.op, client, p))
	if !e.BackChannel.Notifies(l.op) {
		return
	}
	for _, subject := range p.Subjects {
		if client.Notifiable(subject.Sid) {
			owed.notices = append(owed.notices, registry.NameNotice(session.ID, p.ID, subject.Sub, subject.Sid))
		}
	}
}

// client returns the client of an ID, which is added if it is not there yet.
func (r *receipt) client(id, name string) *receiptClient {
	if i := slices.IndexFunc(r.clients, func(c *receiptClient) bool { return c.id == id }); i >= 0 {
		return r.clients[i]
	}
	added := &receiptClient{id: id, name: name}
	r.clients = append(r.clients, added)
	return added
}

// addFrames puts a client's frames on the page, as far as there is place.
func (r *receipt) addFrames(c *receiptClient, frames []string) {
	for _, frame := range frames {
		c.frames++
		switch {
		case slices.Contains(r.frames, frame): // two sessions, one address
		case len(r.frames) < assets.MaxFrames:
			r.frames = append(r.frames, frame)
		default:
			c.cut = true
		}
	}
}

// await waits until all notices have been delivered or given up, at most for a while, and returns
// those that have not been delivered.
func (e *EndSession) await(ctx context.Context, r *receipt, atMost time.Duration) map[registry.NoticeID]registry.PendingNotice {
	unknown := r.unknown()
	if len(unknown) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		settled := e.BackChannel.Recorded()
		sessions, err := e.recorded(context.WithoutCancel(ctx), r.sessions)
		if err != nil {
			return unknown // not said to have been told
		}
		left := make(map[registry.NoticeID]registry.PendingNotice)
		waiting := false
		for _, session := range sessions {
			for _, owed := range session.Pending() {
				id := owed.ID()
				if _, listed := unknown[id]; !listed {
					continue // its client cannot be notified
				}
				left[id] = owed
				waiting = waiting || owed.Attempts == 0 && !owed.Dead() && (owed.Lease != 0 || owed.Due <= registry.At(e.env.Now()))
			}
		}
		if !waiting {
			return left
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return left
		}
	}
}

// unknown are all notices, of which nothing is known but that they may be owed.
func (r *receipt) unknown() map[registry.NoticeID]registry.PendingNotice {
	left := make(map[registry.NoticeID]registry.PendingNotice)
	for _, client := range r.clients {
		for _, id := range client.notices {
			left[id] = registry.PendingNotice{Notice: registry.Notice{Due: 1}}
		}
	}
	return left
}

const (
	// AskedWait is how long after a sign-out the client that asked for it is notified if its user
	// does not come back to it: the browser may have been closed meanwhile, and the page with the
	// frames may take a while.
	AskedWait = 2 * time.Minute
	// ReturnGrace is how long after the redirect: its user is on the way. A client that is an OP
	// itself needs its session to go on from there.
	ReturnGrace = 2 * time.Second
)

// notifyAsking has the client that asked for a sign-out notified after a while, of the notices
// that are left. If that cannot be recorded, it is notified after askedWait.
func (e *EndSession) notifyAsking(l *logoutExchange, left map[registry.NoticeID]registry.PendingNotice, after time.Duration) {
	now := registry.At(e.env.Now())
	var outcomes []registry.Outcome
	for _, owed := range left {
		if owed.Asked && owed.Lease == 0 && owed.Due > now {
			outcomes = append(outcomes, registry.Outcome{Notice: owed, Due: now.Add(after)})
		}
	}
	if len(outcomes) == 0 {
		return
	}
	if err := e.env.Registry.RecordOutcomes(handlers.RecordingContext(l.r), outcomes); err != nil {
		handlers.LogUnrecorded(e.env.Logger, "the client that asked for a sign-out is notified later", err)
	}
	e.env.Wake()
}

// view puts the receipt on a page.
func (r *receipt) view(page assets.View, left map[registry.NoticeID]registry.PendingNotice) assets.View {
	labels := r.labels()
	for i, client := range r.clients {
		if group := r.group(&page, client, left); group != nil {
			*group = append(*group, labels[i])
		}
	}
	return page
}

// group is where a page lists a client; nil: nowhere, since nothing is known, or the client asked
// for the sign-out and has nothing to be told: it signs its user out itself (RP-Initiated Logout
// 1.0, section 2). A client that was asked in a frame does not answer (Front-Channel Logout 1.0,
// section 4.1): only a back channel says that it was told.
func (r *receipt) group(page *assets.View, client *receiptClient, left map[registry.NoticeID]registry.PendingNotice) *[]string {
	trying, failed, tried := false, false, false
	for _, id := range client.notices {
		notice, found := left[id]
		trying = trying || found && !notice.Dead()
		failed = failed || found && notice.Dead()
		tried = tried || notice.Attempts > 0
	}
	switch {
	case failed:
		return &page.Failed
	case client.asked && trying && !tried:
		return nil // it is notified later
	case trying:
		return &page.Retrying
	case len(client.notices) > 0:
		return &page.Told
	case r.framed && client.frames > 0 && !client.cut:
		return &page.Asked
	case r.native, client.asked:
		return nil
	default:
		return &page.Untold
	}
}

// labels are what a page calls the clients: by their names, and those whose names look alike by
// their IDs, too.
func (r *receipt) labels() []string {
	alike := make(map[string]int)
	for _, client := range r.clients {
		alike[look(client.name)]++
	}
	var labels []string
	for _, client := range r.clients {
		label := client.name
		if alike[look(label)] > 1 {
			label = assets.Shorten(label, assets.MaxName/2-3) + " (" + assets.Shorten(assets.PlainName(client.id), assets.MaxName/2) + ")"
		}
		labels = append(labels, label)
	}
	return labels
}

// look is what is left of a name for a user who does not look closely: no spaces, no characters
// without a shape, no case.
func look(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || !unicode.IsGraphic(c) {
			return -1
		}
		return unicode.ToLower(c)
	}, name)
}
