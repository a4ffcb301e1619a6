package e2e

import (
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var postedPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<title>A relying party, with the authorization response that was posted to it</title>
<script>
	const answer = {{.}};
</script>
<script src="/answer.js"></script>
`))

// startPosted starts the endpoint of the relying parties that takes authorization responses by
// form_post, and returns its address.
func startPosted(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.ParseForm() != nil {
			http.Error(w, "nothing was posted", http.StatusBadRequest)
			return
		}
		answer := make(map[string]string)
		for name := range r.PostForm {
			answer[name] = strings.Join(r.PostForm[name], " and ")
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		postedPage.Execute(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
