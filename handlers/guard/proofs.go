package guard

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The user may rewrite the request that brings the code, to keep what the app sets from being
// bound: whatever an app could take for the code is looked up.

// maxIDToken is the longest ID token that is looked at, in bytes.
const maxIDToken = exchange.MaxForm

// A proof is what a request carries of an authorization response.
type proof struct {
	id        sessionstate.ResponseID
	isIDToken bool
}

// proofs are those of one request.
type proofs []proof

// readProofs returns what the request carries: in its query, in a form, or in a JSON object.
func (p *passage) readProofs() (found proofs) {
	r := p.request
	if r.URL.RawQuery != "" {
		found.readForm(r.URL.RawQuery)
		found = slices.DeleteFunc(found, func(one proof) bool { return one.isIDToken })
	}
	if r.Body == nil || r.ContentLength == 0 || r.Method == http.MethodConnect {
		return found // Caddy has a body of its own even where there is none
	}
	mediaType, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isForm := mediaType == exchange.FormType
	isMultipart := mediaType == "multipart/form-data"
	if !isForm && !isMultipart && !mayBeJSON(r, mediaType) {
		return found
	}
	if r.ContentLength < 0 && !isForm && !isMultipart {
		var first byte
		if first, r = exchange.FirstByte(r); first != '{' {
			p.request = r
			return found // a stream, whose sender may wait for a response
		}
	}
	var body []byte
	body, p.request = exchange.ReadBody(r, exchange.MaxForm)
	body, err := exchange.Decode(r.Header, body, exchange.MaxForm)
	switch {
	case err != nil:
	case isForm:
		found.readForm(string(body))
	case isMultipart:
		found.readMultipart(body, parameters["boundary"])
	default:
		found.readJSON(body)
	}
	return found
}

// mayBeJSON reports whether an app may read a body as JSON: many do so whatever its type is. One
// without a length is read for the types that say so alone: others may be streams. Over HTTP/3,
// requests without a body do not say so.
func mayBeJSON(r *http.Request, mediaType string) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength <= exchange.MaxForm
	}
	switch mediaType {
	case "", "text/plain":
		return r.Method != http.MethodGet && r.Method != http.MethodHead
	}
	return strings.HasSuffix(mediaType, "json") &&
		!strings.HasPrefix(mediaType, "application/grpc") &&
		!strings.HasPrefix(mediaType, "application/connect")
}

// readForm reads a query or a form. Of several parameters of a name, apps take the first one or the
// last; some separate them by semicolons, too.
func (all *proofs) readForm(text string) {
	var plain, finer ends
	for pair := range strings.SplitSeq(text, "&") {
		plain.addPair(pair)
		if strings.Contains(pair, ";") {
			for part := range strings.SplitSeq(pair, ";") {
				finer.addPair(part)
			}
		} else {
			finer.addPair(pair)
		}
	}
	all.addEnds(plain)
	all.addEnds(finer)
}

// readMultipart reads a form with parts (RFC 7578).
func (all *proofs) readMultipart(body []byte, boundary string) {
	if boundary == "" {
		return
	}
	var found ends
	for reader := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := reader.NextRawPart()
		if err != nil {
			break
		}
		value, _ := io.ReadAll(part) // what can be read is read
		found.add(part.FormName(), string(value))
	}
	all.addEnds(found)
}

// readJSON reads the members of a JSON object.
func (all *proofs) readJSON(body []byte) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return
	}
	var found ends
	decoder := json.NewDecoder(bytes.NewReader(body))
	_, err := decoder.Token()
	for err == nil && decoder.More() {
		name, _ := decoder.Token()
		var member json.RawMessage
		if err = decoder.Decode(&member); err == nil {
			var value string
			_ = json.Unmarshal(member, &value) // what is no string is no code
			text, _ := name.(string)
			found.add(text, value)
		}
	}
	all.addEnds(found)
}

// add adds a code or an ID token, once.
func (all *proofs) add(value string, isIDToken bool) {
	switch {
	case value == "":
		return
	case isIDToken && len(value) <= maxIDToken:
		all.addOnce(proof{sessionstate.NewIDTokenResponseID(value), true})
	case !isIDToken && len(value) <= handlers.MaxCode:
		all.addOnce(proof{sessionstate.NewResponseID(value), false})
	}
}

func (all *proofs) addOnce(one proof) {
	if !slices.Contains(*all, one) {
		*all = append(*all, one)
	}
}

func (all *proofs) addEnds(found ends) {
	for i := range 2 {
		all.add(found.code[i], false)
		all.add(found.anyCode[i], false)
		all.add(found.idToken[i], true)
		all.add(found.anyIDToken[i], true)
	}
}

// ends are the first and the last value of each name that is of concern, and of the names that
// differ from it in case.
type ends struct{ code, anyCode, idToken, anyIDToken [2]string }

// addPair adds a parameter as it came.
func (e *ends) addPair(pair string) {
	name, value, _ := strings.Cut(pair, "=")
	if value == "" {
		return
	}
	if strings.ContainsAny(name, "%+") {
		name, _ = url.QueryUnescape(name)
	}
	if name = strings.Trim(name, " "); len(name) == len("code") || len(name) == len("id_token") {
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		e.add(name, value)
	}
}

func (e *ends) add(name, value string) {
	switch name = strings.Trim(name, " "); {
	case strings.EqualFold(name, "code"):
		keepEnds(&e.code, &e.anyCode, value, name == "code")
	case strings.EqualFold(name, "id_token"):
		keepEnds(&e.idToken, &e.anyIDToken, value, name == "id_token")
	}
}

func keepEnds(exact, folded *[2]string, value string, isExact bool) {
	keepEnd(folded, value)
	if isExact {
		keepEnd(exact, value)
	}
}

func keepEnd(of *[2]string, value string) {
	switch {
	case value == "":
	case of[0] == "":
		of[0], of[1] = value, value
	default:
		of[1] = value
	}
}
