package memory

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// records are those of one issuer.
type records struct {
	sessions       map[sessionstate.SessionID]registry.Session
	browsers       map[sessionstate.BrowserID]map[sessionstate.SessionID]struct{}
	participations map[sessionstate.SessionID]map[string]registry.Participation
	responses      map[sessionstate.ResponseID]rules.Response
	rebindings     map[sessionstate.ResponseID]rules.Rebinding
	spent          map[[16]byte]time.Time
	keys           map[[16]byte]rules.Key                          // by the hash of their IDs
	subjects       map[subject]map[sessionstate.SessionID]struct{} // those not ended
	users          map[user]map[sessionstate.SessionID]int         // those not ended, and how many sids they have
	notices        map[registry.NoticeID]rules.Notice
	due            map[string]*queue[registry.NoticeID] // by client ID, those neither given up nor held back
	held           map[user]registry.NoticeID
	clients        map[string]registry.Client
	clientAt       map[string]string  // their IDs, by URI
	idlest         queue[string]      // their IDs, by when they were used
	observed       *registry.Observed // nil: nothing is recorded
}

// tx implements [rules.Tx]. Nothing can fail in it, so nothing is ever rolled back.
type tx struct {
	store  *Store
	issuer string
	*records
}

// tx begins a transaction; the caller holds the lock. An issuer gets maps at its first write, so that look-ups leave no trace.
func (s *Store) tx(issuer string) *tx {
	if r := s.issuers[issuer]; r != nil {
		return &tx{s, issuer, r}
	}
	return &tx{s, issuer, &records{}}
}

// prepare makes the maps for the issuer's first write.
func (t *tx) prepare() {
	if t.sessions != nil {
		return
	}
	*t.records = records{
		sessions:       make(map[sessionstate.SessionID]registry.Session),
		browsers:       make(map[sessionstate.BrowserID]map[sessionstate.SessionID]struct{}),
		participations: make(map[sessionstate.SessionID]map[string]registry.Participation),
		responses:      make(map[sessionstate.ResponseID]rules.Response),
		rebindings:     make(map[sessionstate.ResponseID]rules.Rebinding),
		spent:          make(map[[16]byte]time.Time),
		keys:           make(map[[16]byte]rules.Key),
		subjects:       make(map[subject]map[sessionstate.SessionID]struct{}),
		users:          make(map[user]map[sessionstate.SessionID]int),
		notices:        make(map[registry.NoticeID]rules.Notice),
		held:           make(map[user]registry.NoticeID),
		clients:        make(map[string]registry.Client),
		clientAt:       make(map[string]string),
		due:            make(map[string]*queue[registry.NoticeID]),
	}
	t.store.issuers[t.issuer] = t.records
}

func (t *tx) Session(id sessionstate.SessionID) (registry.Session, bool) {
	session, found := t.sessions[id]
	return session, found
}

func (t *tx) StartSession(session registry.Session) {
	t.prepare()
	t.sessions[session.ID] = session
	ids := t.browsers[session.Browser]
	if ids == nil {
		ids = make(map[sessionstate.SessionID]struct{})
		t.browsers[session.Browser] = ids
	}
	ids[session.ID] = struct{}{}
	t.expireAt(session.Removal(), kindSession, session.ID)
}

func (t *tx) EndSession(session registry.Session) {
	t.sessions[session.ID] = session
	t.forgetBrowser(session)
}

func (t *tx) RescheduleSession(session registry.Session, _ time.Time) {
	t.sessions[session.ID] = session
	t.expireAt(session.Removal(), kindSession, session.ID)
}

func (t *tx) forgetBrowser(session registry.Session) {
	delete(t.browsers[session.Browser], session.ID)
	if len(t.browsers[session.Browser]) == 0 {
		delete(t.browsers, session.Browser)
	}
}

func (t *tx) LiveSessions(browser sessionstate.BrowserID, now time.Time, limit int) []registry.Session {
	ids := slices.SortedFunc(maps.Keys(t.browsers[browser]), func(a, b sessionstate.SessionID) int {
		return bytes.Compare(a[:], b[:])
	})
	var live []registry.Session
	for _, id := range ids {
		if session := t.sessions[id]; session.Live(now) && len(live) < limit {
			live = append(live, session)
		}
	}
	return live
}

func (t *tx) Participation(id sessionstate.SessionID, clientID string) (registry.Participation, bool) {
	participation, found := t.participations[id][clientID]
	return clone(participation), found
}

func (t *tx) PutParticipation(id sessionstate.SessionID, participation registry.Participation) {
	clients := t.participations[id]
	if clients == nil {
		clients = make(map[string]registry.Participation)
		t.participations[id] = clients
	}
	clients[participation.ClientID] = clone(participation)
}

func (t *tx) DeleteParticipation(id sessionstate.SessionID, clientID string) {
	delete(t.participations[id], clientID)
}

func (t *tx) Participations(id sessionstate.SessionID) []registry.Participation {
	var participations []registry.Participation
	for _, participation := range t.participations[id] {
		participations = append(participations, clone(participation))
	}
	slices.SortFunc(participations, func(a, b registry.Participation) int {
		return strings.Compare(a.ClientID, b.ClientID)
	})
	return participations
}

func (t *tx) Response(id sessionstate.ResponseID) (rules.Response, bool) {
	response, found := t.responses[id]
	return response, found
}

func (t *tx) PutResponse(id sessionstate.ResponseID, response rules.Response) {
	t.responses[id] = response
	t.expireAt(response.Expires, kindResponse, id)
}

func (t *tx) Rebinding(id sessionstate.ResponseID) (rules.Rebinding, bool) {
	rebinding, found := t.rebindings[id]
	return rebinding, found
}

func (t *tx) PutRebinding(id sessionstate.ResponseID, rebinding rules.Rebinding) {
	t.rebindings[id] = rebinding
	t.expireAt(rebinding.Expires, kindRebinding, id)
}

// clone copies a participation, so that the caller's slices and the store's are never the same.
func clone(participation registry.Participation) registry.Participation {
	participation.Subjects = slices.Clone(participation.Subjects)
	participation.Origins = slices.Clone(participation.Origins)
	return participation
}

// Interface guard
var _ rules.Tx = (*tx)(nil)
