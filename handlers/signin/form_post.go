package signin

import (
	"net/http"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// mayBePost reports whether a response may be a page that posts an authorization response.
func (x *observation) mayBePost(status int, header http.Header) bool {
	return x.readsPage && status == http.StatusOK && exchange.MayBeHTML(header)
}

// expectsPost reports whether the request at hand or a pending one may be answered by a page that
// posts itself.
func (x *observation) expectsPost() bool {
	isPosting := func(p browser.PendingRequest) bool { return p.Is(browser.PostingRequest) }
	_, waits := x.cookies.FindPending(isPosting)
	return waits || x.pending != nil && isPosting(*x.pending)
}

// holdForm holds a page until it is clear whether it posts an authorization response. A page that
// is flushed before it has a form is not held up: only the rest of a form that goes to another
// site is waited for.
func (x *observation) holdForm() *exchange.Hold {
	return &exchange.Hold{
		Limit: exchange.MaxPage,
		Edit: func(header http.Header, body []byte) []byte {
			page := exchange.ReadPage(header, body)
			return x.answerForm(header, page, exchange.ReadForms(page))
		},
		Flush: func(header http.Header, body []byte) (edited []byte, wait bool) {
			page := exchange.ReadPage(header, body)
			forms := exchange.ReadForms(page)
			if last := len(forms) - 1; last >= 0 && forms[last].Open {
				if x.leadsAway(forms[last].Action) {
					return nil, true
				}
				forms = forms[:last]
			}
			return x.answerForm(header, page, forms), false
		},
	}
}

// leadsAway reports whether an address is on another site than the OP.
func (x *observation) leadsAway(address string) bool {
	target, ok := resolve(x.op, x.request, address)
	if !ok {
		return false
	}
	origin, err := sessionstate.Origin(target.String())
	return err == nil && origin != x.op.Origin
}

// answerForm answers by the first form of a page that answers a request; nil: the page has none,
// or stays as it is.
func (x *observation) answerForm(
	header http.Header, page []byte, forms []exchange.PostedForm,
) []byte {
	for _, form := range forms {
		response, ok := readForm(x.op, x.request, form)
		if !ok {
			continue
		}
		sessionState, ok := x.answer(response, header)
		if !ok {
			continue
		}
		x.cookies.Write(header)
		if sessionState == "" {
			return nil
		}
		return form.With(page, sessionState)
	}
	return nil
}
