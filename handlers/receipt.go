package handlers

import (
	"context"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// maxReceipts is how many sessions one receipt is about: browsers have one, or a few that began at once.
const maxReceipts = 8

// A receipt says which clients of the sessions that ended were told.
type receipt struct {
	issuer   string
	names    []string                       // of the clients, in the order of their IDs
	notices  map[string][]registry.NoticeID // by name, those that are owed by back channel; none: it cannot be told so
	frames   []string                       // the URLs of those that are told by front channel
	byFrames map[string]bool                // by name
}

// receiptFor collects what the clients of ended sessions are owed.
func (e *EndSession) receiptFor(l *leave, sessions []sessionstate.SessionID) *receipt {
	r := &receipt{issuer: l.op.Issuer, notices: make(map[string][]registry.NoticeID), byFrames: make(map[string]bool)}
	for _, id := range sessions[:min(len(sessions), maxReceipts)] {
		participations, err := e.env.Registry.Participations(recording(l.r), l.op.Issuer, id)
		if err != nil {
			unrecorded(e.env.Logger, "which clients were told of a sign-out is not known", err)
			continue
		}
		for _, p := range participations {
			e.addClient(l, r, id, p)
		}
	}
	return r
}

func (e *EndSession) addClient(l *leave, r *receipt, session sessionstate.SessionID, p registry.Participation) {
	client, _ := e.Clients.Find(recording(l.r), l.op.Issuer, p.ClientID)
	name := client.Name
	if name == "" {
		name = p.ClientID
	}
	if _, listed := r.notices[name]; !listed {
		r.names = append(r.names, name)
		r.notices[name] = nil
	}
	frames := e.framesOf(l.op, client, p)
	r.frames = append(r.frames, frames...)
	r.byFrames[name] = r.byFrames[name] || len(frames) > 0
	if !e.BackChannel.Tells(l.op) {
		return
	}
	for _, subject := range p.Subjects {
		if client.tellable(subject.Sid) {
			r.notices[name] = append(r.notices[name], registry.NameNotice(session, p.ClientID, subject.Sub, subject.Sid))
		}
	}
}

// await waits until all notices have been delivered or given up, at most for a while, and returns those that have not been
// delivered.
func (e *EndSession) await(ctx context.Context, r *receipt, atMost time.Duration) map[registry.NoticeID]registry.Notice {
	var ids []registry.NoticeID
	for _, owed := range r.notices {
		ids = append(ids, owed...)
	}
	left := make(map[registry.NoticeID]registry.Notice)
	if len(ids) == 0 {
		return left
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		settled := e.BackChannel.Settled()
		notices, err := e.env.Registry.Notices(context.WithoutCancel(ctx), r.issuer, ids)
		if err != nil { // not known: not said to have been told
			notices = unknown(ids)
		}
		clear(left)
		waiting := false
		for _, notice := range notices {
			left[notice.ID] = notice
			waiting = waiting || notice.Attempts == 0 && !notice.Dead
		}
		if !waiting || err != nil {
			return left
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return left
		}
	}
}

func unknown(ids []registry.NoticeID) []registry.Notice {
	var notices []registry.Notice
	for _, id := range ids {
		notices = append(notices, registry.Notice{ID: id})
	}
	return notices
}

// view puts the receipt on a page.
func (r *receipt) view(page assets.View, left map[registry.NoticeID]registry.Notice) assets.View {
	for _, name := range r.names {
		trying, failed := false, false
		for _, id := range r.notices[name] {
			notice, found := left[id]
			trying = trying || found && !notice.Dead
			failed = failed || found && notice.Dead
		}
		switch {
		case failed:
			page.Failed = append(page.Failed, name)
		case trying:
			page.Retrying = append(page.Retrying, name)
		case len(r.notices[name]) > 0 || r.byFrames[name]:
			page.Told = append(page.Told, name)
		default:
			page.Untold = append(page.Untold, name)
		}
	}
	return page
}
