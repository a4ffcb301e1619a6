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

// A receipt says which clients of the sessions that ended were notified, as far as that is known.
type receipt struct {
	sessions []sessionstate.SessionID
	clients  []*receiptClient // in the order in which they came, session by session
	frames   []string         // the URLs of those that are notified in frames, at most MaxFrames
	framed   bool             // the page with these was shown
	native   bool             // the OP notifies clients itself: what becomes of those is unknown

	remaining map[registry.NoticeID]registry.PendingNotice // not delivered yet: see await
}

// A receiptClient is one client of the receipt. Its ID makes it one: anybody who registers a
// client can give it any name.
type receiptClient struct {
	id, name string
	notices  []registry.NoticeID // that are owed by back channel; none: it cannot be notified so
	frames   int                 // how many URLs have to be loaded; none: it cannot be notified so
	cut      bool                // the page has no place for some of them
	asked    bool                // for the sign-out, by a hint of its own
	guarded  bool                // its own session is refused, wherever it has one
}

// receiptFor collects what the clients of ended sessions are owed.
func (e *EndSession) receiptFor(l *logoutExchange, done sealedLogout) *receipt {
	r := &receipt{
		sessions: done.Sessions,
		framed:   done.Framed && !done.Unframed,
		native:   l.op.BackChannelLogout || l.op.FrontChannelLogout,
	}
	sessions, err := e.recorded(handlers.RecordingContext(l.r), r.sessions)
	if err != nil {
		const message = "which clients were told of a sign-out is not known"
		handlers.LogUnrecorded(e.env.Logger, message, err)
	}
	for _, session := range sessions {
		for _, client := range session.Clients {
			e.addClient(l, r, session, client)
		}
	}
	return r
}

// recorded returns those of the sessions that are recorded.
func (e *EndSession) recorded(
	ctx context.Context, ids []sessionstate.SessionID,
) (sessions []*registry.Session, err error) {
	for _, id := range ids {
		place := registry.PlaceOfSession(id)
		browser, err := e.env.Registry.Browser(registry.Patient(ctx), place)
		if err != nil {
			return sessions, err
		}
		isIt := func(s *registry.Session) bool { return s.ID == id }
		if i := slices.IndexFunc(browser, isIt); i >= 0 {
			sessions = append(sessions, browser[i])
		}
	}
	return sessions, nil
}

// addClient adds a client that took part in a session.
func (e *EndSession) addClient(
	l *logoutExchange, r *receipt, session *registry.Session, p *registry.Client,
) {
	client, _ := e.Clients.Find(handlers.RecordingContext(l.r), l.op.Issuer, p.ID)
	owed := r.client(p.ID, client.ShownName(p.ID))
	owed.asked = l.request.Hinted && p.ID == l.request.ClientID
	owed.guarded = e.isGuarded(p)
	r.addFrames(owed, e.framesOf(l.op, client, p))
	if !e.BackChannel.Notifies(l.op) {
		return
	}
	for _, subject := range p.Subjects {
		if client.Notifiable(subject.Sid) {
			notice := registry.NameNotice(session.ID, p.ID, subject.Sub, subject.Sid)
			owed.notices = append(owed.notices, notice)
		}
	}
}

// isGuarded reports whether all sites of a client are guarded.
func (e *EndSession) isGuarded(p *registry.Client) bool {
	if e.env.IsGuarded == nil || len(p.Origins) == 0 {
		return false
	}
	return !slices.ContainsFunc(p.Origins, func(origin string) bool {
		return !e.env.IsGuarded(origin)
	})
}

// client returns the client of an ID, which is added if it is not there yet.
func (r *receipt) client(id, name string) *receiptClient {
	isIt := func(c *receiptClient) bool { return c.id == id }
	if i := slices.IndexFunc(r.clients, isIt); i >= 0 {
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

// await waits until each notice has been tried once, at most RedirectWait, and notes which remain.
// While the registry is unavailable, none is known to have been delivered.
func (e *EndSession) await(l *logoutExchange, r *receipt) {
	r.remaining = make(map[registry.NoticeID]registry.PendingNotice)
	for _, client := range r.clients {
		for _, id := range client.notices {
			r.remaining[id] = registry.PendingNotice{Notice: registry.Notice{Due: 1}} // not dead
		}
	}
	if len(r.remaining) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(l.r.Context(), e.BackChannel.RedirectWait)
	defer cancel()
	for {
		recorded := e.BackChannel.Recorded()
		sessions, err := e.recorded(context.WithoutCancel(ctx), r.sessions)
		if err != nil || !r.update(sessions, registry.At(e.env.Now())) {
			return
		}
		select {
		case <-recorded:
		case <-ctx.Done():
			return
		}
	}
}

// update keeps those of the remaining notices that the sessions still owe. It reports whether some
// are being tried for the first time, or about to be.
func (r *receipt) update(sessions []*registry.Session, now registry.Time) (trying bool) {
	remaining := make(map[registry.NoticeID]registry.PendingNotice)
	for _, session := range sessions {
		for _, owed := range session.Pending() {
			id := owed.ID()
			if _, listed := r.remaining[id]; !listed {
				continue // its client cannot be notified
			}
			remaining[id] = owed
			isUntried := owed.Attempts == 0 && !owed.Dead()
			trying = trying || isUntried && (owed.Lease != 0 || owed.Due <= now)
		}
	}
	r.remaining = remaining
	return trying
}

// notifyAsking has the client that asked for a sign-out notified after a while, of the notices
// that remain. If that cannot be recorded, it is notified after AskedWait.
func (e *EndSession) notifyAsking(l *logoutExchange, r *receipt, after time.Duration) {
	now := registry.At(e.env.Now())
	var outcomes []registry.Outcome
	for _, owed := range r.remaining {
		if owed.Asked && owed.Lease == 0 && owed.Due > now {
			outcomes = append(outcomes, registry.Outcome{Notice: owed, Due: now.Add(after)})
		}
	}
	if len(outcomes) == 0 {
		return
	}
	err := e.env.Registry.RecordOutcomes(handlers.RecordingContext(l.r), outcomes)
	if err != nil {
		const message = "the client that asked for a sign-out is notified later"
		handlers.LogUnrecorded(e.env.Logger, message, err)
	}
	e.env.Wake()
}

// addTo lists the clients on a page.
func (r *receipt) addTo(page *assets.View) {
	labels := r.labels()
	for i, client := range r.clients {
		if group := r.group(page, client); group != nil {
			*group = append(*group, labels[i])
		}
	}
}

// group is where a page lists a client; nil: nowhere, since nothing is known, or the client asked
// for the sign-out and needs no notification: it signs its user out itself (RP-Initiated Logout
// 1.0, section 2). A client that was notified in a frame does not answer (Front-Channel Logout
// 1.0, section 4.1): only a back channel says that the notification arrived. Of a guarded one the
// user is signed out in any case.
func (r *receipt) group(page *assets.View, client *receiptClient) *[]string {
	var pending, dead, tried int
	for _, id := range client.notices {
		switch notice, remains := r.remaining[id]; {
		case !remains:
		case notice.Dead():
			dead++
		default:
			pending++
			tried += notice.Attempts
		}
	}
	switch {
	case dead > 0:
		return &page.Failed
	case pending > 0 && tried == 0 && client.asked:
		return nil // it is notified later
	case pending > 0:
		return &page.Retrying
	case len(client.notices) > 0:
		return &page.Told
	case r.framed && client.frames > 0 && !client.cut:
		return &page.Asked
	case r.native, client.asked:
		return nil
	case client.guarded:
		return &page.Told
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
			id := assets.Shorten(assets.PlainName(client.id), assets.MaxName/2)
			label = assets.Shorten(label, assets.MaxName/2-3) + " (" + id + ")"
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
