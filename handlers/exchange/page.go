package exchange

import (
	"bytes"
	"html"
	"mime"
	"net/http"
	"net/url"
	"strings"

	nethtml "golang.org/x/net/html"
)

// MaxPage is how much of an HTML page is held, in bytes, to look for an authorization response by a
// page that posts itself (OAuth 2.0 Form Post Response Mode 1.0).
const MaxPage = 64 << 10

// A PostedForm is a form in an HTML page that is sent by POST: an authorization response, perhaps.
type PostedForm struct {
	// Action is where it is sent, as the page has it.
	Action string
	// Values are those of its fields that have a name.
	Values url.Values
	// Open reports whether its end tag has not come yet.
	Open bool

	insertAt int      // in bytes of the page: where another field can be written
	own      [][2]int // from where to where in the page: the OP's own session_state fields
}

// ReadForms finds the forms of a page that are sent by POST.
func ReadForms(page []byte) []PostedForm {
	var forms []PostedForm
	var form *PostedForm // the one that is open
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
					action := attributes["action"]
					forms = append(forms, PostedForm{action, make(url.Values), true, end, nil})
					form = &forms[len(forms)-1]
				}
			case "input":
				if form != nil {
					form.addField(readAttributes(tokens, hasAttributes), start, end)
				}
			}
		case nethtml.EndTagToken:
			if string(name) == "form" && form != nil {
				form.Open, form = false, nil
			}
		}
	}
}

// addField adds the field that stands from start to end in the page.
func (f *PostedForm) addField(attributes map[string]string, start, end int) {
	name := attributes["name"]
	if name == "" {
		return
	}
	f.Values.Add(name, attributes["value"])
	f.insertAt = end
	if name == "session_state" {
		f.own = append(f.own, [2]int{start, end})
	}
}

// readAttributes returns the attributes of the current tag; of one given twice the first counts,
// as in browsers.
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

// With returns the page with session_state as another field of the form, in place of the OP's own
// if it has any. All other bytes stay as they are.
func (f *PostedForm) With(page []byte, sessionState string) []byte {
	field := `<input type="hidden" name="session_state" value="` +
		html.EscapeString(sessionState) + `"/>`
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

// ReadPage returns an HTML page without its content coding; nil: it is none, or cannot be read.
func ReadPage(header http.Header, body []byte) []byte {
	page, err := Decode(header, body, MaxPage)
	if err != nil ||
		!isHTML(header) && !strings.HasPrefix(http.DetectContentType(page), "text/html") {
		return nil
	}
	return page
}

// MayBeHTML reports whether a response may be a page, by its header: without a Content-Type,
// net/http and browsers go by the first bytes of the body.
func MayBeHTML(header http.Header) bool {
	return header.Get("Content-Type") == "" || isHTML(header)
}

// isHTML reports whether a response is a page.
func isHTML(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "text/html"
}
