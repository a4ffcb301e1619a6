package assets_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/oidc-session/caddy-oidc-session/assets"
)

var (
	allPages     = []assets.PageName{assets.PageQuestion, assets.PageSignedOut, assets.PageSignedIn, assets.PageError}
	allLanguages = []string{"en", "de", "es", "fr"}
	allProblems  = []assets.Problem{
		assets.ProblemInvalidRequest, assets.ProblemUnknownRedirect, assets.ProblemTooLarge, assets.ProblemExpired, assets.ProblemOPFailed,
	}
)

func load(t *testing.T, dir string) *assets.Pages {
	t.Helper()
	pages, err := assets.LoadPages(dir)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// each renders every page in every language with every problem.
func each(t *testing.T, pages *assets.Pages, check func(t *testing.T, view assets.View, body []byte)) {
	t.Helper()
	for _, language := range allLanguages {
		for _, page := range allPages {
			for _, problem := range allProblems {
				view := assets.View{
					Page: page, Language: language, Issuer: "op.example.com", Client: "Shop", Action: "/oidc/end-session/confirm", Confirmation: "sealed",
					Problem: problem, Detail: "state",
				}
				body, err := pages.Render(view)
				if err != nil {
					t.Fatal(err)
				}
				check(t, view, body)
			}
		}
	}
}

// elements counts the elements of a page by their names, and returns its attributes and texts in
// one string.
func elements(t *testing.T, body []byte) (count map[string]int, rest string) {
	t.Helper()
	document, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	count = make(map[string]int)
	var all strings.Builder
	for node := range document.Descendants() {
		if node.Type == html.ElementNode {
			count[node.Data]++
		} else if node.Parent != nil && node.Parent.Data != "style" {
			all.WriteString(node.Data + "\n")
		}
		for _, attribute := range node.Attr {
			all.WriteString(attribute.Key + "=" + attribute.Val + "\n")
		}
	}
	return count, all.String()
}

func TestPagesAreAccessibleAndKeepToThemselves(t *testing.T) {
	each(t, load(t, ""), func(t *testing.T, view assets.View, body []byte) {
		count, rest := elements(t, body)
		if count["h1"] != 1 || count["main"] != 1 || count["title"] != 1 || !strings.Contains(rest, "lang="+view.Language+"\n") {
			t.Errorf("%s in %s: elements %v", view.Page, view.Language, count)
		}
		if count["script"]+count["link"]+count["img"]+count["iframe"] != 0 || strings.Contains(string(body), "://") {
			t.Errorf("%s loads something", view.Page)
		}
		if strings.Contains(rest, "{issuer}") || strings.Contains(rest, "{client}") {
			t.Errorf("%s in %s has a text that is not filled in", view.Page, view.Language)
		}
		buttons := map[assets.PageName]int{assets.PageQuestion: 2, assets.PageError: 1}[view.Page]
		if count["button"] != buttons {
			t.Errorf("%s has %d buttons", view.Page, count["button"])
		}
	})
}

func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	seen := make(map[string]string)
	each(t, load(t, ""), func(t *testing.T, view assets.View, body []byte) {
		document, err := html.Parse(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for node := range document.Descendants() {
			if node.Type != html.ElementNode || node.Data != "h1" && node.Data != "button" && node.Data != "p" {
				continue
			}
			text := ""
			for child := range node.Descendants() {
				text += child.Data
			}
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s in %s has an empty %s", view.Page, view.Language, node.Data)
			}
			if node.Data != "p" {
				if other, known := seen[text]; known && other != view.Language {
					t.Errorf("%q is in %s and in %s", text, other, view.Language)
				}
				seen[text] = view.Language
			}
		}
	})
}

func TestThePolicyAllowsTheStyleOfThePagesAndNothingElse(t *testing.T) {
	pages := load(t, "")
	policy := pages.ContentSecurityPolicy()
	each(t, pages, func(t *testing.T, view assets.View, body []byte) {
		_, rest, _ := strings.Cut(string(body), "<style>")
		style, _, found := strings.Cut(rest, "</style>")
		sum := sha256.Sum256([]byte(style))
		if !found || !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Fatalf("%s: its style is not in %q", view.Page, policy)
		}
	})
	if strings.Count(policy, "sha256-") != 1 || strings.Contains(policy, "script") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "form-action") ||
		!strings.HasPrefix(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "base-uri 'none'") {
		t.Errorf("the policy is %q", policy)
	}
}

// ZITADEL's logout page ran injected scripts.
func TestThreatCVE202567495NothingGetsOutOfItsPlace(t *testing.T) {
	pages := load(t, "")
	for _, payload := range []string{
		`"><script>alert(1)</script>`, `'-alert(1)-'`, `</title><script>`, `</style><script>`, `javascript:alert(1)`, `{{.Confirmation}}`, "<img src=x onerror=alert(1)>", "\x00<b>",
	} {
		for _, page := range allPages {
			body, err := pages.Render(assets.View{
				Page: page, Language: "en", Issuer: payload, Client: payload, Action: "/x", Confirmation: payload, Problem: assets.ProblemInvalidRequest, Detail: payload,
			})
			if err != nil {
				t.Fatal(err)
			}
			count, rest := elements(t, body)
			if count["script"]+count["img"]+count["b"] != 0 || strings.Contains(rest, "onerror=alert(1)\n") || strings.Contains(rest, "action=javascript") {
				t.Errorf("%s with %q is %s", page, payload, body)
			}
		}
	}
}

// listed returns the names in a page's lists, and the sentence before each list.
func listed(t *testing.T, body []byte) (sentences []string, lists [][]string) {
	t.Helper()
	document, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for node := range document.Descendants() {
		switch {
		case node.Type != html.ElementNode:
		case node.Data == "p" && node.FirstChild != nil:
			last = node.FirstChild.Data
		case node.Data == "ul":
			sentences, lists = append(sentences, last), append(lists, nil)
		case node.Data == "li" && node.Parent.Data == "ul":
			lists[len(lists)-1] = append(lists[len(lists)-1], node.FirstChild.Data)
		}
	}
	return sentences, lists
}

// receiptPages are the pages with a receipt.
var receiptPages = []assets.View{{Page: assets.PageSignedOut}, {Page: assets.PageError, Problem: assets.ProblemOPFailed, Action: "/x"}}

func TestTheReceiptListsEachGroupUnderASentenceOfItsOwn(t *testing.T) {
	pages := load(t, "")
	seen := make(map[string]bool)
	for _, view := range receiptPages {
		clear(seen)
		for _, language := range allLanguages {
			view.Language, view.Issuer = language, "op.example.com"
			view.Told, view.Asked, view.Retrying = []string{"Shop", "Mail"}, []string{"Forum"}, []string{"Wiki"}
			view.Failed, view.Untold = []string{"Chat"}, []string{"Notes"}
			body, err := pages.Render(view)
			if err != nil {
				t.Fatal(err)
			}
			sentences, lists := listed(t, body)
			if want := [][]string{{"Shop", "Mail"}, {"Forum"}, {"Wiki"}, {"Chat"}, {"Notes"}}; !reflect.DeepEqual(lists, want) {
				t.Errorf("%s in %s: the lists are %q", view.Page, language, lists)
			}
			for _, sentence := range sentences {
				if seen[sentence] || len(sentence) < 10 {
					t.Errorf("%s in %s: %q", view.Page, language, sentence)
				}
				seen[sentence] = true
			}
		}
	}
}

func TestTheReceiptLeavesOutGroupsThatAreEmpty(t *testing.T) {
	body, err := load(t, "").Render(assets.View{Page: assets.PageSignedOut, Language: "en", Untold: []string{"Notes"}})
	sentences, lists := listed(t, body)
	if err != nil || len(sentences) != 1 || !strings.Contains(sentences[0], "close the browser") || !reflect.DeepEqual(lists, [][]string{{"Notes"}}) {
		t.Errorf("%q %q, %v", sentences, lists, err)
	}
}

func TestAReceiptOfNobodyIsNoReceipt(t *testing.T) {
	without := load(t, templates(t, map[string]string{"receipt.html": `{{define "receipt"}}{{end}}`}))
	pages := load(t, "")
	for _, view := range receiptPages {
		view.Language, view.Told, view.Untold = "en", []string{}, nil
		got, err := pages.Render(view)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := without.Render(view); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, want %s, %v", got, want, err)
		}
	}
}

func TestTheReceiptNamesTwentyAppsAndCountsTheOthers(t *testing.T) {
	pages := load(t, "")
	seen := make(map[string]bool)
	for _, language := range allLanguages {
		for n, want := range map[int]int{20: 20, 21: 21, 123: 21} {
			body, err := pages.Render(assets.View{Page: assets.PageSignedOut, Language: language, Failed: slices.Repeat([]string{"App"}, n)})
			_, lists := listed(t, body)
			if err != nil || len(lists) != 1 || len(lists[0]) != want {
				t.Fatalf("%d apps in %s: %q, %v", n, language, lists, err)
			}
			if last := lists[0][want-1]; n > 20 && (!strings.Contains(last, strconv.Itoa(n-20)) || strings.Contains(last, "{") || seen[last]) {
				t.Errorf("%d apps in %s: %q", n, language, last)
			} else if n > 20 {
				seen[last] = true
			}
		}
	}
}

func TestNamesOfAppsAreTextsAndNothingElse(t *testing.T) {
	pages := load(t, "")
	for _, payload := range []string{`"><script>alert(1)</script>`, "</li></ul><img src=x onerror=alert(1)>", "<b>", "{issuer}{n}", "{{.Action}}"} {
		for _, view := range receiptPages {
			view.Language, view.Issuer = "en", "op.example.com"
			view.Told, view.Asked, view.Retrying, view.Failed, view.Untold = []string{payload}, []string{payload}, []string{payload}, []string{payload}, []string{payload}
			body, err := pages.Render(view)
			if err != nil {
				t.Fatal(err)
			}
			count, _ := elements(t, body)
			_, lists := listed(t, body)
			if want := slices.Repeat([][]string{{payload}}, 5); count["script"]+count["img"]+count["b"] != 0 || !reflect.DeepEqual(lists, want) {
				t.Errorf("%s with %q is %s", view.Page, payload, body)
			}
		}
	}
}

func TestTemplatesWithoutAReceiptStayAsTheyAre(t *testing.T) {
	pages := load(t, templates(t, map[string]string{"signed_out.html": `<p>{{.Heading}}</p>{{range .Told}}{{.}}{{end}}`}))
	if body, err := pages.Render(assets.View{Page: assets.PageSignedOut, Language: "en", Told: []string{"Shop"}}); err != nil || string(body) != "<p>You are signed out</p>Shop" {
		t.Errorf("%s, %v", body, err)
	}
}

func TestChooseLanguage(t *testing.T) {
	for _, tt := range []struct{ name, locales, accept, want string }{
		{"nothing asked for", "", "", "en"},
		{"the first of ui_locales there is", "xx ja fr-CA de", "es", "fr"},
		{"ui_locales before Accept-Language", "de", "fr", "de"},
		{"none of ui_locales", "ja xx", "es-MX, en;q=0.1", "es"},
		{"by weight", "", "fr;q=0.1, de-AT;q=0.9", "de"},
		{"none at all", "ja", "zh", "en"},
		{"nonsense", "!! \x00 ../..", ";;;q=x", "en"},
		{"too much", strings.Repeat("de ", 1000), strings.Repeat("fr,", 1000), "en"},
	} {
		if got := assets.ChooseLanguage(tt.locales, tt.accept); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// templates writes templates into a directory.
func templates(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTemplatesOfOnesOwnTakeThePlaceOfTheBuiltIn(t *testing.T) {
	pages := load(t, templates(t, map[string]string{
		"signed_out.html": `<!DOCTYPE html><html lang="{{.Language}}"><style>p { color: red }</style><p>{{.Heading}} – {{.Message}}</p>`,
	}))
	body, err := pages.Render(assets.View{Page: assets.PageSignedOut, Language: "de", Issuer: "op.example.com"})
	if err != nil || !strings.Contains(string(body), "<p>Sie sind abgemeldet – ") {
		t.Errorf("%s, %v", body, err)
	}
	if body, err := pages.Render(assets.View{Page: assets.PageSignedIn, Language: "de"}); err != nil || !strings.Contains(string(body), "<main>") {
		t.Errorf("the others are not built in: %s, %v", body, err)
	}
	policy := pages.ContentSecurityPolicy()
	if strings.Count(policy, "sha256-") != 2 || !strings.Contains(policy, "img-src 'self'") || strings.Contains(policy, "script") {
		t.Errorf("the policy is %q", policy)
	}
	look := load(t, templates(t, map[string]string{"layout.html": `{{define "head"}}<title>ours</title>{{end}}{{define "foot"}}{{end}}`}))
	if body, err := look.Render(assets.View{Page: assets.PageQuestion, Language: "en", Action: "/x"}); err != nil || !strings.HasPrefix(string(body), "<title>ours</title><form") {
		t.Errorf("%s, %v", body, err)
	}
}

func TestTemplatesThatCannotBeAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":                {nil, "has none of the templates"},
		"a broken one":        {map[string]string{"error.html": "a\n{{.Heading"}, "error.html:2"},
		"an unknown field":    {map[string]string{"question.html": "{{.Token}}"}, "question.html:1"},
		"an unknown template": {map[string]string{"question.html": `{{template "nope" .}}`}, "nope"},
		"a broken layout":     {map[string]string{"layout.html": "{{"}, "layout.html"},
	} {
		if _, err := assets.LoadPages(templates(t, tt.files)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := assets.LoadPages(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("a directory that is not there is accepted")
	}
	if reflect.ValueOf(load(t, "")).IsNil() {
		t.Error("no pages")
	}
}
