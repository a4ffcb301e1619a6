package assets_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// aCase is a page without the fields that all have.
type aCase struct {
	name string
	view assets.View
}

// cases returns pages of all kinds.
func cases() []aCase {
	const confirm = "/oidc/end-session/confirm"
	back := func(v assets.View) assets.View {
		v.Back, v.BackName = "https://shop.example.com/", "The Shop"
		return v
	}
	all := []aCase{
		{"question of an app", assets.View{Page: assets.PageQuestion, Client: "The Shop", Action: confirm, Confirmation: "sealed"}},
		{"question of nobody", assets.View{Page: assets.PageQuestion, Action: confirm, Confirmation: "sealed"}},
		{"signed out", assets.View{Page: assets.PageSignedOut}},
		{"signed out, receipt", assets.View{
			Page: assets.PageSignedOut, Told: []string{"The Shop"}, Asked: []string{"The Forum"}, Retrying: []string{"The Wiki"}, Failed: []string{"The Chat"},
			Untold: strings.Split(strings.Repeat("The Notes,", 22)+"The Mail", ","),
		}},
		{"signed out, not sent on", back(assets.View{Page: assets.PageSignedOut, Problem: assets.ProblemUnknownRedirect, Host: "evil.example"})},
		{"signed out, not sent on to what has no host", assets.View{Page: assets.PageSignedOut, Problem: assets.ProblemUnknownRedirect}},
		{"signed out, apps could not be told", assets.View{Page: assets.PageSignedOut, Unrecorded: true, Continue: "https://shop.example.com/bye"}},
		{"still signed in", back(assets.View{Page: assets.PageSignedIn})},
	}
	for _, problem := range allProblems {
		for _, signed := range []assets.Signed{assets.SignedIn, assets.SignedOut, ""} {
			view := back(assets.View{Page: assets.PageError, Problem: problem, Signed: signed})
			switch problem {
			case assets.ProblemUnknownRedirect:
				if signed == assets.SignedOut {
					continue // that is the page above
				}
				view.Detail, view.Host = "post_logout_redirect_uri", "evil.example"
			case assets.ProblemInvalidRequest:
				view.Detail = "id_token_hint"
			case assets.ProblemTooLarge:
			case assets.ProblemOPFailed, assets.ProblemExpired:
				if signed != assets.SignedIn {
					continue
				}
			}
			if signed == assets.SignedIn {
				view.Action, view.Confirmation = confirm, "sealed"
			}
			state := map[assets.Signed]string{assets.SignedIn: "", assets.SignedOut: ", signed out", "": ", signed in or out"}[signed]
			all = append(all, aCase{"error " + string(problem) + state, view})
		}
	}
	return all
}

var (
	lookAndScript = regexp.MustCompile(`(?s)<(style|script)>.*?</(?:style|script)>`)
	body          = regexp.MustCompile(`(?s)<title>(.*)</title>.*<main>\n(.*)</main>`)
)

// The texts are compared as a whole: in each language, on each page, with each problem.
func TestGoldenPages(t *testing.T) {
	pages := load(t, "")
	for _, language := range allLanguages {
		var all strings.Builder
		write := func(name string, page []byte) {
			found := body.FindSubmatch(lookAndScript.ReplaceAll(page, []byte("<$1></$1>")))
			all.WriteString("<!-- " + name + " -->\n<title>" + string(found[1]) + "</title>\n" + string(found[2]) + "\n")
		}
		for _, c := range cases() {
			c.view.Language, c.view.Issuer = language, "Example ID"
			page, err := pages.Render(c.view)
			if err != nil {
				t.Fatal(err)
			}
			write(c.name, page)
		}
		for _, failed := range []bool{false, true} {
			page, _, err := pages.FrontChannel(assets.FrontChannel{
				Language: language, Issuer: "Example ID", Frames: []string{"https://shop.example.com/out", "https://wiki.example.com/out"},
				Next: "/oidc/end-session?request=sealed", Timeout: 3 * time.Second, OPFailed: failed,
			})
			if err != nil {
				t.Fatal(err)
			}
			write(map[bool]string{false: "front channel", true: "front channel, OP failed"}[failed], page)
		}
		golden(t, filepath.Join("testdata", "pages", language+".html"), []byte(all.String()))
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the pages are (write it anew with -update, and look at the difference): %v", file, err)
	}
}

func TestNamesArePlainWhereverTheyStand(t *testing.T) {
	hostile := "a\x00\n\u202eb\u2066\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad\u3164\u2800 \u2028c\xff" + strings.Repeat("x", 1000)
	if got := assets.PlainName(hostile); got != "a b c"+strings.Repeat("x", assets.MaxName-6)+"…" {
		t.Errorf("it is %q", got)
	}
	for _, name := range []string{"The Shop", "Überladen", "店", "متجر", "Crème & Co. <b>"} {
		if got := assets.PlainName(name); got != name {
			t.Errorf("%q becomes %q", name, got)
		}
	}
	pages := load(t, "")
	for _, name := range []assets.PageName{assets.PageQuestion, assets.PageSignedOut, assets.PageSignedIn, assets.PageError, assets.PageFrontChannel} {
		page, err := pages.Render(assets.View{
			Page: name, Language: "en", Issuer: hostile, Client: hostile, Back: "https://shop.example.com/", BackName: hostile, Host: hostile,
			Problem: assets.ProblemUnknownRedirect, Told: []string{hostile}, Asked: []string{hostile}, Retrying: []string{hostile}, Failed: []string{hostile},
			Untold: []string{hostile}, Next: "/", Timeout: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(page), "\x00\u202e\u2066\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad\u3164\u2800\u2028\ufffd") || strings.Contains(string(page), strings.Repeat("x", assets.MaxName)) {
			t.Errorf("%s shows %s", name, page)
		}
	}
}

func TestANameFromRightToLeftLeavesTheTextAroundItInPlace(t *testing.T) {
	page, err := load(t, "").Render(assets.View{Page: assets.PageQuestion, Language: "en", Issuer: "Example ID", Client: "متجر (1)"})
	if err != nil || !strings.Contains(string(page), "<p>\u2068متجر (1)\u2069 asks to sign you out of Example ID.") {
		t.Errorf("%s, %v", page, err)
	}
}

func TestPagesLinkBackOnlyToTheWeb(t *testing.T) {
	pages := load(t, "")
	for _, name := range []assets.PageName{assets.PageSignedOut, assets.PageSignedIn, assets.PageError} {
		for address, want := range map[string]bool{"https://shop.example.com/": true, "javascript:alert(1)": false, "com.example.app:/": false, "": false} {
			page, err := pages.Render(assets.View{Page: name, Language: "en", Problem: assets.ProblemInvalidRequest, Back: address, BackName: "The Shop"})
			if got := strings.Contains(string(page), `<a class="button" href="`+address+`">Back to The Shop</a>`); err != nil || got != want || strings.Contains(string(page), "alert") {
				t.Errorf("%s, %q: %s, %v", name, address, page, err)
			}
		}
	}
}
