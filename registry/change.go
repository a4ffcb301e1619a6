package registry

import "slices"

// change is the record as a store keeps it.
func (r *record) change() (*Change, error) {
	if len(r.Sessions) == 0 && len(r.Responses) == 0 && r.Crowded <= r.Clock {
		return new(Change), nil
	}
	value, err := encode(r)
	if err != nil {
		return nil, err
	}
	c := &Change{Value: value}
	expires, ends, owed := r.Crowded, Time(0), Time(0)
	for _, s := range r.Sessions {
		owing := false
		s.eachNotice(func(_ *Client, subject *Subject) {
			owing, c.Owing = true, true
			if !subject.Notice.Dead() {
				owed = earlier(owed, subject.Notice.Due)
			}
		})
		switch {
		case s.Ended == 0:
			ends = earlier(ends, s.removal())
		case len(s.Clients) > 0 && !owing: // then they are forgotten
			ends = earlier(ends, s.Ended.Add(CodeLifetime))
		}
		expires = max(expires, s.expires())
	}
	for _, p := range r.Responses {
		expires = max(expires, p.Made.Add(CodeLifetime))
	}
	c.Expires, c.Ends, c.Owed = expires.Time(), ends.Time(), owed.Time()
	return c, nil
}

// expires is when the store may forget the session.
func (s *Session) expires() Time {
	switch {
	case s.Forgotten != 0:
		return s.Forgotten
	case s.Ended == 0:
		return s.Limit.Add(wakeGrace)
	}
	until := s.Limit.Add(CodeLifetime)
	s.eachNotice(func(_ *Client, subject *Subject) { until = max(until, subject.Notice.Until) })
	return until
}

func earlier(a, b Time) Time {
	if a == 0 || b < a {
		return b
	}
	return a
}

// fewResponses are the last responses of a browser, which stay whatever comes.
const fewResponses = 8

// shrink makes room in a record that is about to be too large: all but the last responses whose
// codes nobody has redeemed, or that have none, go, and the clients that took part by these alone.
// A page can make any number of them.
func (r *record) shrink() {
	stale := len(r.Responses) - fewResponses
	r.Responses = slices.DeleteFunc(r.Responses, func(p *Response) bool {
		stale--
		return stale >= 0 && (p.Redeemed == 0 || p.isComplete())
	})
	for _, s := range r.Sessions {
		s.Clients = slices.DeleteFunc(s.Clients, func(c *Client) bool {
			awaited := func(p *Response) bool { return p.Session == s.ID && p.ClientID == c.ID }
			return len(c.Subjects) == 0 && !slices.ContainsFunc(r.Responses, awaited)
		})
	}
}
