package handlers

import (
	"bytes"
	"html"
	"mime"
	"net/http"
	"net/url"
	"strings"

	nethtml "golang.org/x/net/html"
)

// Authorization responses by a page that posts itself: OAuth 2.0 Form Post Response Mode 1.0.

// maxPage is how much of an HTML page is held to look for a form_post response, in bytes.
const maxPage = 64 << 10

// A postedForm is a form in an HTML page: of OAuth 2.0 Form Post Response Mode 1.0, if it is an authorization response.
type postedForm struct {
	action string
	values url.Values
	// insertAt is where another field can be written: behind the last one, in bytes of the page.
	insertAt int
	// own are the places of the OP's own session_state fields.
	own [][2]int
}

// readForms finds the forms of a page that are sent by POST.
func readForms(page []byte) []postedForm {
	var forms []postedForm
	var form *postedForm // the one that is open
	tokens := nethtml.NewTokenizer(bytes.NewReader(page))
	for end := 0; ; {
		kind := tokens.Next()
		if kind == nethtml.ErrorToken {
			return forms
		}
		start := end
		end += len(tokens.Raw())
		name, hasAttributes := tokens.TagName()
		switch kind { //nolint:exhaustive // text, comments and the doctype are of no interest
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			switch string(name) {
			case "form":
				attributes := readAttributes(tokens, hasAttributes)
				form = nil
				if strings.EqualFold(attributes["method"], "post") {
					forms = append(forms, postedForm{action: attributes["action"], values: make(url.Values), insertAt: end})
					form = &forms[len(forms)-1]
				}
			case "input":
				if form != nil {
					form.addField(readAttributes(tokens, hasAttributes), start, end)
				}
			}
		case nethtml.EndTagToken:
			if string(name) == "form" {
				form = nil
			}
		}
	}
}

// addField adds the field that stands from start to end in the page.
func (f *postedForm) addField(attributes map[string]string, start, end int) {
	name := attributes["name"]
	if name == "" {
		return
	}
	f.values.Add(name, attributes["value"])
	f.insertAt = end
	if name == "session_state" {
		f.own = append(f.own, [2]int{start, end})
	}
}

// readAttributes returns the attributes of the current tag; of one given twice the first counts, as in browsers.
func readAttributes(tokens *nethtml.Tokenizer, more bool) map[string]string {
	attributes := make(map[string]string)
	for more {
		var key, value []byte
		key, value, more = tokens.TagAttr()
		if _, given := attributes[string(key)]; !given {
			attributes[string(key)] = string(value)
		}
	}
	return attributes
}

// with returns the page with session_state as another field of the form, in place of the OP's own if it has any. All other bytes
// stay as they are.
func (f *postedForm) with(page []byte, sessionState string) []byte {
	field := `<input type="hidden" name="session_state" value="` + html.EscapeString(sessionState) + `"/>`
	out := make([]byte, 0, len(page)+len(field))
	at := 0
	for _, own := range f.own {
		out = append(out, page[at:own[0]]...)
		at = own[1]
	}
	out = append(out, page[at:f.insertAt]...)
	out = append(out, field...)
	return append(out, page[f.insertAt:]...)
}

// expectsPost tells whether the request at hand or a pending one may be answered by a page that posts itself.
func (v *visit) expectsPost(asked *pendingRequest) bool {
	if asked != nil && asked.is(posting) {
		return true
	}
	for _, p := range v.pending {
		if p.is(posting) {
			return true
		}
	}
	return false
}

// holdForm holds a page until it can be told whether it is such an answer.
func (b *Browser) holdForm(v *visit, asked *pendingRequest) *hold {
	return &hold{limit: maxPage, edit: func(header http.Header, body []byte) []byte {
		page, err := decoded(header, body, maxPage)
		if err != nil {
			return nil
		}
		return b.answerForm(v, asked, header, page)
	}}
}

// answerForm answers by the first form of a page that answers a request; nil: the page has none, or stays as it is.
func (b *Browser) answerForm(v *visit, asked *pendingRequest, header http.Header, page []byte) []byte {
	for _, form := range readForms(page) {
		response, ok := newAuthorizationResponse(v.op, v.r, form.action, inForm, form.values)
		if !ok {
			continue
		}
		sessionState, ok := b.answer(v, asked, response)
		if !ok {
			continue
		}
		forbidCaching(header)
		v.writeCookies(header)
		if sessionState == "" || !b.SessionState.mayAdd(v.op, response) {
			return nil
		}
		return form.with(page, sessionState)
	}
	return nil
}

// isHTML tells whether a response is a page.
func isHTML(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "text/html"
}
