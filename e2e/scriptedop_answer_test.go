package e2e

import (
	"html/template"
	"net/http"
	"net/url"
)

// postPolicy allows the one script that sends the form: its hash is that of postScript.
const (
	postScript = "document.forms[0].submit()"
	postPolicy = "default-src 'none'; script-src 'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='"
)

// The first script is not allowed by the page's policy. Where that is lost, it tells the client.
var postPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<title>Submit this form</title>
<form method="post" action="{{.Action}}">
{{range $name, $values := .Values}}{{range $values}}	<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}</form>
<script>document.forms[0].insertAdjacentHTML('beforeend', '<input name="policy" value="lost">')</script>
<script>{{.Script}}</script>
`))

// answer sends an authorization response, in the mode that the request asks for.
func (o *scriptedOP) answer(w http.ResponseWriter, r *http.Request, request, values url.Values) {
	values.Set("state", request.Get("state"))
	values.Set("iss", o.issuer)
	values.Set("session_state", "the OP's own.salt")
	switch target := request.Get("redirect_uri"); request.Get("response_mode") {
	case "fragment":
		http.Redirect(w, r, target+"#"+values.Encode(), http.StatusSeeOther)
	case "form_post":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", postPolicy)
		postPage.Execute(w, map[string]any{"Action": target, "Values": values, "Script": template.JS(postScript)})
	default:
		http.Redirect(w, r, target+"?"+values.Encode(), http.StatusSeeOther)
	}
}
