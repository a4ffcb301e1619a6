package assets

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// frontChannel returns a page for one app, after a change.
func frontChannel(change func(*FrontChannel)) FrontChannel {
	f := FrontChannel{
		Language: "en", Issuer: "op.example.com", Frames: []string{"https://rp.example.com/out?iss=https%3A%2F%2Fop.example.com&sid=1"},
		Next: "/oidc/end-session?parked=x", Timeout: 2500 * time.Millisecond,
	}
	if change != nil {
		change(&f)
	}
	return f
}

// render renders the page with the templates of a directory; "" means the built-in one.
func render(t *testing.T, dir string, f FrontChannel) (body, policy string) {
	t.Helper()
	pages, err := builtInPages()
	if dir != "" {
		pages, err = LoadPages(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	page, policy, err := pages.FrontChannel(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(page), policy
}

// renderError returns the error of the page.
func renderError(t *testing.T, f FrontChannel) error {
	t.Helper()
	pages, err := builtInPages()
	if err != nil {
		t.Fatal(err)
	}
	body, policy, err := pages.FrontChannel(f)
	if err != nil && (body != nil || policy != "") {
		t.Errorf("an error, and a page: %s", body)
	}
	return err
}

// tags returns the attributes of each element of a name, as a browser with or without scripts has
// them.
func tags(t *testing.T, body, name string, scripting bool) []map[string]string {
	t.Helper()
	document, err := html.ParseWithOptions(strings.NewReader(body), html.ParseOptionEnableScripting(scripting))
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for node := range document.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			attributes := make(map[string]string)
			for _, a := range node.Attr {
				attributes[a.Key] = a.Val
			}
			all = append(all, attributes)
		}
	}
	return all
}

func hash(element, body string) string {
	_, rest, _ := strings.Cut(body, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func TestFrontChannelHasAHiddenFrameForEachApp(t *testing.T) {
	f := frontChannel(func(f *FrontChannel) { f.Frames = append(f.Frames, "http://localhost:8080/out?a=b&c") })
	body, _ := render(t, "", f)
	for scripting, attribute := range map[bool]string{true: "data-src", false: "src"} {
		found := tags(t, body, "iframe", scripting)
		found = slices.DeleteFunc(found, func(a map[string]string) bool { return a[attribute] == "" })
		if len(found) != len(f.Frames) {
			t.Fatalf("scripting %t: the frames are %v", scripting, found)
		}
		for i, a := range found {
			_, hidden := a["hidden"]
			if a[attribute] != f.Frames[i] || !hidden || a["sandbox"] != "allow-scripts allow-same-origin allow-forms" || a["title"] == "" || a["referrerpolicy"] != "no-referrer" || a["loading"] != "eager" {
				t.Errorf("scripting %t: frame %d is %v", scripting, i, a)
			}
		}
	}
}

func TestFrontChannelHasALinkAndARefreshForBrowsersWithoutScripts(t *testing.T) {
	for timeout, seconds := range map[time.Duration]string{time.Millisecond: "1", 2 * time.Second: "2", 2500 * time.Millisecond: "3", 30 * time.Second: "30"} {
		body, _ := render(t, "", frontChannel(func(f *FrontChannel) { f.Timeout = timeout }))
		refresh := slices.DeleteFunc(tags(t, body, "meta", false), func(a map[string]string) bool { return a["http-equiv"] != "refresh" })
		if len(refresh) != 1 || refresh[0]["content"] != seconds+";url=/oidc/end-session?parked=x" {
			t.Errorf("after %s: %v", timeout, refresh)
		}
		for _, a := range tags(t, body, "meta", true) {
			if a["http-equiv"] != "" {
				t.Errorf("with scripts, there is %v", a)
			}
		}
	}
	body, _ := render(t, "", frontChannel(nil))
	if links := tags(t, body, "a", true); len(links) != 1 || links[0]["href"] != "/oidc/end-session?parked=x" {
		t.Errorf("the links are %v", links)
	}
}

func TestFrontChannelHasAllTextsInEveryLanguage(t *testing.T) {
	seen := make(map[string]string)
	for language := range texts {
		body, _ := render(t, "", frontChannel(func(f *FrontChannel) { f.Language = language }))
		title := tags(t, body, "iframe", true)[0]["title"]
		heading := regexp.MustCompile(`<h1>(.+)…</h1>`).FindStringSubmatch(body)
		link := regexp.MustCompile(`<a [^>]*>(.+)</a>`).FindStringSubmatch(body)
		if title == "" || heading == nil || link == nil || strings.Contains(body, "{issuer}") || !strings.Contains(body, `<html lang="`+language+`">`) {
			t.Fatalf("%s: %s", language, body)
		}
		note := slices.DeleteFunc(tags(t, body, "p", true), func(a map[string]string) bool { return a["role"] != "status" })
		if len(note) != 1 || note[0]["aria-live"] != "polite" || !strings.Contains(note[0]["data-progress"], "{n}") || !strings.Contains(note[0]["data-progress"], "1") {
			t.Fatalf("%s: the progress note is %v", language, note)
		}
		for _, text := range []string{title, heading[1], link[1], note[0]["data-progress"]} {
			if other, known := seen[text]; known {
				t.Errorf("%q is in %s and in %s", text, language, other)
			}
			seen[text] = language
		}
	}
}

func TestFrontChannelPolicyAllowsItsScriptItsStyleAndItsFrames(t *testing.T) {
	body, policy := render(t, "", frontChannel(func(f *FrontChannel) {
		f.Frames = []string{"https://b.example.com/1", "https://A.example.com:443/", "http://localhost:8080/?x=;,", "https://b.example.com/2", "https://b.example.com:8443/"}
	}))
	if strings.Count(body, "<script") != 1 || strings.Count(body, "<style") != 1 || strings.Contains(body, " style=") {
		t.Fatalf("the page is %s", body)
	}
	want := "default-src 'none'; script-src " + hash("script", body) + "; style-src " + hash("style", body) +
		"; frame-src http://localhost:8080 https://a.example.com https://b.example.com https://b.example.com:8443; base-uri 'none'; frame-ancestors 'none'"
	if policy != want {
		t.Errorf("the policy is\n%s, want\n%s", policy, want)
	}
}

func TestFrontChannelScriptIsTheSameForAllPages(t *testing.T) {
	body, _ := render(t, "", frontChannel(nil))
	other, policy := render(t, "", frontChannel(func(f *FrontChannel) { f.Language, f.Next, f.Timeout = "fr", "/elsewhere", time.Second }))
	if body == other || hash("script", body) != hash("script", other) || !strings.Contains(policy, hash("script", body)) {
		t.Error("the script depends on what the page is about")
	}
}

func TestFrontChannelFallsBackToSchemesWhereOriginsAreTooMany(t *testing.T) {
	many := func(scheme string) (frames []string) {
		for i := range MaxFrames {
			frames = append(frames, fmt.Sprintf("%s://%d.rp.example.com/", scheme, i))
		}
		return frames
	}
	for _, tt := range []struct {
		name   string
		frames []string
		want   string
	}{
		{"https alone", many("https"), "frame-src https:;"},
		{"one http frame among them", append(many("https")[1:], "http://rp.example.com/"), "frame-src http: https:;"},
		{"http alone", many("http"), "frame-src http: https:;"},
		{"many frames of one origin", slices.Repeat([]string{"https://rp.example.com/"}, MaxFrames), "frame-src https://rp.example.com;"},
		{"no frames", nil, "frame-src 'none';"},
	} {
		_, policy := render(t, "", frontChannel(func(f *FrontChannel) { f.Frames = tt.frames }))
		if !strings.Contains(policy, "; "+tt.want) {
			t.Errorf("%s: the policy is %.300s", tt.name, policy)
		}
	}
}

func TestFrontChannelListsOriginsUpToTheBound(t *testing.T) {
	const fixed = len("https://" + ".example" + " ")
	var frames []string
	for i := range maxFrameSources / 64 {
		frames = append(frames, fmt.Sprintf("https://%0*d.example/", 64-fixed, i)) // 64 bytes with the space after it
	}
	frames[0] = strings.Replace(frames[0], "https://", "https://x", 1) // makes up for the space that the last one lacks
	_, policy := render(t, "", frontChannel(func(f *FrontChannel) { f.Frames = frames }))
	if strings.Count(policy, ".example") != len(frames) {
		t.Errorf("at the bound: %.300s", policy)
	}
	frames[0] = strings.Replace(frames[0], "https://", "https://x", 1)
	_, policy = render(t, "", frontChannel(func(f *FrontChannel) { f.Frames = frames }))
	if strings.Contains(policy, ".example") {
		t.Errorf("one byte over it: %.300s", policy)
	}
}

func TestFrontChannelRefusesWhatCannotBeAFrame(t *testing.T) {
	for _, frame := range []string{
		"", "/out", "//rp.example.com/", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "blob:https://rp.example.com/1", "ftp://rp.example.com/",
		"app://out", "https:", "https:///out", "https:rp.example.com", "https://user@rp.example.com/", "https://user:password@rp.example.com/", "https://@rp.example.com/",
		"https://[::1]/", "https://rp_1.example.com/", "https://bücher.example/", "https://*.example.com/", "https://rp.example.com;script-src/",
		"https://rp.example.com,x/", "https://rp.example.com'/", `https://rp.example.com"/`, "https://rp.example.com x/", "https://rp.example.com:99999/",
		`https://rp.example.com\@evil.example/`, "https://rp.example.com/\n", "https://rp.example.com/\x00", "https://rp.example.com:*/", "https://%72p.example.com/",
		"https://.rp.example.com/", "https://rp..example.com/", "https://./", "https://[2001:db8::1]:8443/", "http://[::1]:3000/", "https://rp.example.com:65536/",
	} {
		if CanFrame(frame) {
			t.Errorf("%q is said to be good for a frame", frame)
		}
		err := renderError(t, frontChannel(func(f *FrontChannel) { f.Frames = append(f.Frames, frame) }))
		if !errors.Is(err, ErrFrame) || strings.Contains(err.Error(), "rp.example.com") {
			t.Errorf("%q: %v", frame, err)
		}
	}
}

func TestWhatCanBeAFrameMakesAPage(t *testing.T) {
	for _, frame := range []string{
		"https://rp.example.com/out?a=b", "https://RP.example.com", "https://rp.example.com./", "https://rp.example.com:65535/", "https://rp.example.com:/", "http://localhost:3000/",
		"https://192.0.2.1/", "https://xn--bcher-kva.example/", "https://rp-1.example.com/a;b,c?d;e=f,g",
	} {
		if err := renderError(t, frontChannel(func(f *FrontChannel) { f.Frames = []string{frame} })); err != nil || !CanFrame(frame) {
			t.Errorf("%q: %v", frame, err)
		}
	}
}

func TestFrontChannelDoesNotSayThatTheOPsSessionHasEndedIfItMayGoOn(t *testing.T) {
	seen := make(map[string]bool)
	for language, texts := range texts {
		claim := strings.ReplaceAll(texts.signedOutAtOP, "{issuer}", "op.example.com")
		for _, failed := range []bool{false, true} {
			body, _ := render(t, "", frontChannel(func(f *FrontChannel) { f.Language, f.OPFailed = language, failed }))
			if strings.Contains(html.UnescapeString(body), claim) == failed || !strings.Contains(body, ">"+texts.signingOutMore) {
				t.Errorf("%s, failed %t: %s", language, failed, body)
			}
		}
		if len(claim) < 20 || seen[claim] || seen[texts.signingOutMore] {
			t.Errorf("%s says %q and %q", language, texts.signingOutMore, claim)
		}
		seen[claim], seen[texts.signingOutMore] = true, true
	}
}

func TestFrontChannelGoesOnlyToPathsAndWebAddresses(t *testing.T) {
	for _, next := range []string{"/", "/a?b=c", "https://op.example.com/a", "http://localhost:9000/"} {
		if err := renderError(t, frontChannel(func(f *FrontChannel) { f.Next = next })); err != nil {
			t.Errorf("%q: %v", next, err)
		}
	}
	for _, next := range []string{
		"", "a", "?a", "//evil.example/", "///evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "javascript:alert(1)", "JAVASCRIPT:alert(1)",
		" javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "https:", "https:///", "https://op.example.com@evil.example/",
	} {
		if err := renderError(t, frontChannel(func(f *FrontChannel) { f.Next = next })); !errors.Is(err, ErrNext) {
			t.Errorf("%q: %v", next, err)
		}
	}
}

func TestFrontChannelIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*FrontChannel)
		want   error
	}{
		{"as many frames as there may be", func(f *FrontChannel) { f.Frames = slices.Repeat(f.Frames, 512) }, nil},
		{"one more", func(f *FrontChannel) { f.Frames = slices.Repeat(f.Frames, 513) }, ErrTooManyFrames},
		{"the longest time", func(f *FrontChannel) { f.Timeout = 30 * time.Second }, nil},
		{"more than that", func(f *FrontChannel) { f.Timeout = 30*time.Second + 1 }, ErrTimeout},
		{"the shortest time", func(f *FrontChannel) { f.Timeout = 1 }, nil},
		{"no time", func(f *FrontChannel) { f.Timeout = 0 }, ErrTimeout},
		{"less than none", func(f *FrontChannel) { f.Timeout = -1 }, ErrTimeout},
	} {
		if err := renderError(t, frontChannel(tt.change)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestFrontChannelLetsNothingOutOfItsPlace(t *testing.T) {
	plain, policy := render(t, "", frontChannel(nil))
	for _, payload := range []string{`"><script>alert(1)</script>`, `'-alert(1)-'`, `</script><img src=x onerror=alert(1)>`, `</noscript><b>`, `{{.Next}}`, "--><b>"} {
		body, hostile := render(t, "", frontChannel(func(f *FrontChannel) {
			f.Issuer, f.Frames, f.Next = payload, []string{"https://rp.example.com/?x=" + payload}, "/?x="+payload
		}))
		for _, scripting := range []bool{true, false} {
			for _, name := range []string{"script", "img", "b", "iframe", "a", "noscript"} {
				if got, want := len(tags(t, body, name, scripting)), len(tags(t, plain, name, scripting)); got != want {
					t.Errorf("%q makes %d elements %s of %d", payload, got, name, want)
				}
			}
		}
		if hostile != policy || hash("script", body) != hash("script", plain) {
			t.Errorf("%q changes the policy to %s", payload, hostile)
		}
	}
}

func TestFrontChannelTemplateOfOnesOwnMayHaveAScript(t *testing.T) {
	dir := t.TempDir()
	write := func(content string) {
		if err := os.WriteFile(filepath.Join(dir, "front_channel.html"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`<title>{{.GoOn}} {{.FrameTitle}} {{.Seconds}} {{.Timeout}}</title><style>p {}</style><script>go()</script>{{.Next}}{{range .Frames}}<iframe src="{{.}}"></iframe>{{end}}`)
	body, policy := render(t, dir, frontChannel(nil))
	if !strings.HasPrefix(body, "<title>Continue Signing out of an app 3 2500</title>") || len(tags(t, body, "iframe", true)) != 1 {
		t.Errorf("the page is %s", body)
	}
	for _, part := range []string{
		"default-src 'none'; script-src " + hash("script", body) + "; style-src 'self' ", hash("style", body),
		"; frame-src https://rp.example.com; img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'",
	} {
		if !strings.Contains(policy, part) {
			t.Errorf("%s is not in %s", part, policy)
		}
	}
	write(`<p>{{.Heading}}</p>`)
	if _, policy := render(t, dir, frontChannel(nil)); !strings.Contains(policy, "script-src 'none'") {
		t.Errorf("without a script: %s", policy)
	}
	write(`<script>go("{{.Next}}")</script>`)
	if body, policy := render(t, dir, frontChannel(nil)); strings.Contains(policy, hash("script", body)) {
		t.Error("a script runs that what the page is about is a part of")
	}
}

func TestFrontChannelHidesItsFramesWhateverTheLayout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "layout.html"), []byte(`{{define "head"}}<title>ours</title>{{end}}{{define "foot"}}{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	body, _ := render(t, dir, frontChannel(nil))
	if _, hidden := tags(t, body, "iframe", true)[0]["hidden"]; !hidden {
		t.Errorf("the page is %s", body)
	}
}

// frontChannelScript returns the script of the page.
func frontChannelScript(t *testing.T) string {
	t.Helper()
	body, _ := render(t, "", frontChannel(nil))
	_, rest, _ := strings.Cut(body, "<script>")
	script, _, found := strings.Cut(rest, "</script>")
	if !found {
		t.Fatal("the page has no script")
	}
	return script
}

func TestFrontChannelScriptIsES5(t *testing.T) {
	script := frontChannelScript(t)
	for _, token := range []string{"let ", "const ", "=>", "`", "class ", "...", "?.", " of ", "eval", "innerHTML", "document.write"} {
		if strings.Contains(script, token) {
			t.Errorf("the script has %q", token)
		}
	}
}

func TestFrontChannelScenarios(t *testing.T) {
	ran := 0
	for line := range bytes.Lines(node(t, frontChannelScript(t), "testdata/front_channel.js")) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		ran++
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
	if ran < 7 {
		t.Errorf("%d scenarios ran", ran)
	}
}
