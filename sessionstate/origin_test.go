package sessionstate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var acceptedURIs = []struct {
	name, uri, want string
}{
	{"the path is left out", "https://rp.example.com/cb", "https://rp.example.com"},
	{"the query is left out", "https://rp.example.com?x=https://op.example.com", "https://rp.example.com"},
	{"the fragment is left out", "https://rp.example.com#f", "https://rp.example.com"},
	{"the default port of https is left out", "https://rp.example.com:443/cb", "https://rp.example.com"},
	{"the default port of http is left out", "http://rp.example.com:80/cb", "http://rp.example.com"},
	{"the default port of the other scheme is kept", "http://rp.example.com:443/cb", "http://rp.example.com:443"},
	{"another port is kept", "http://localhost:3000/cb", "http://localhost:3000"},
	{"an empty port is none", "https://rp.example.com:/cb", "https://rp.example.com"},
	{"zeros before a port go", "https://rp.example.com:08443/cb", "https://rp.example.com:8443"},
	{"zeros before a default port go with it", "https://rp.example.com:0443/cb", "https://rp.example.com"},
	{"port 0 is a port", "https://rp.example.com:0/cb", "https://rp.example.com:0"},
	{"port 65535 is a port", "https://rp.example.com:65535/cb", "https://rp.example.com:65535"},
	{"scheme and host become lower case", "HTTPS://RP.Example.COM/CB", "https://rp.example.com"},
	{"a trailing dot is kept", "https://rp.example.com./cb", "https://rp.example.com."},
	{"an underscore is kept", "https://my_rp.example.com/cb", "https://my_rp.example.com"},
	{"hyphens are kept", "https://-r--p-.example.com/cb", "https://-r--p-.example.com"},
	{"a name in another script becomes an A-label", "https://bücher.example/cb", "https://xn--bcher-kva.example"},
	{"in upper case too", "https://BÜCHER.example/cb", "https://xn--bcher-kva.example"},
	{"percent-encoded too", "https://b%C3%BCcher.example/cb", "https://xn--bcher-kva.example"},
	{"decomposed too", "https://bu\u0308cher.example/cb", "https://xn--bcher-kva.example"},
	{"an A-label stays one", "https://XN--bcher-kva.example/cb", "https://xn--bcher-kva.example"},
	{"the sharp s is a letter of its own", "https://faß.example/cb", "https://xn--fa-hia.example"},
	{"an ideographic full stop is a dot", "https://例え。jp/cb", "https://xn--r8jz45g.jp"},
	{"a soft hyphen goes", "https://\u00adrp.example/cb", "https://rp.example"},
	{"an IPv4 address is kept", "http://127.0.0.1:8080/cb", "http://127.0.0.1:8080"},
	{"wide digits are digits", "http://１２７.0.0.1/cb", "http://127.0.0.1"},
	{"a name that begins like an IPv4 address is a name", "https://1.2.3.4.example/cb", "https://1.2.3.4.example"},
	{"a last label that is no number is a name", "https://1.2.3.0xyz/cb", "https://1.2.3.0xyz"},
	{"an IPv6 address keeps its brackets", "http://[::1]:8080/cb", "http://[::1]:8080"},
	{"an IPv6 address becomes short", "http://[0:0:0:0:0:0:0:1]/cb", "http://[::1]"},
	{"an IPv6 address becomes lower case", "https://[2001:DB8::A]/cb", "https://[2001:db8::a]"},
	{"a single zero is not shortened", "https://[2001:db8::1:1:1:1:1]/cb", "https://[2001:db8:0:1:1:1:1:1]"},
	{"the longest zeros are shortened", "https://[1:0:0:2:0:0:0:3]/cb", "https://[1:0:0:2::3]"},
	{"an IPv4-mapped address becomes hexadecimal", "https://[::ffff:192.0.2.1]/cb", "https://[::ffff:c000:201]"},
	{"an IPv4-mapped address may be hexadecimal", "https://[::FFFF:C000:0001]/cb", "https://[::ffff:c000:1]"},
	{"an IPv4-compatible address becomes hexadecimal", "https://[::1.2.3.4]/cb", "https://[::102:304]"},
}

func TestOriginOf(t *testing.T) {
	for _, tt := range acceptedURIs {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := sessionstate.Origin(tt.uri); err != nil || got != tt.want {
				t.Errorf("%q: got %q, %v; want %q", tt.uri, got, err, tt.want)
			}
		})
	}
}

var refusedURIs = []struct {
	name, uri string
	want      error
}{
	{"a custom scheme has no origin", "com.example.app:/cb", sessionstate.ErrNoOrigin},
	{"a custom scheme with a host has none", "myapp://rp.example.com/cb", sessionstate.ErrNoOrigin},
	{"urn: has none", "urn:ietf:wg:oauth:2.0:oob", sessionstate.ErrNoOrigin},
	{"javascript: has none", "javascript:alert(1)", sessionstate.ErrNoOrigin},
	{"javascript: that looks like a URL has none", "javascript://rp.example.com/%0aalert(1)", sessionstate.ErrNoOrigin},
	{"data: has none", "data:text/html,x", sessionstate.ErrNoOrigin},
	{"blob: has none", "blob:https://rp.example.com/1", sessionstate.ErrNoOrigin},
	{"file: has none", "file:///etc/hosts", sessionstate.ErrNoOrigin},
	{"ftp: has none that a page could have", "ftp://rp.example.com/cb", sessionstate.ErrNoOrigin},
	{"a scheme that begins like https has none", "httpss://rp.example.com/cb", sessionstate.ErrNoOrigin},
	{"nothing is no URI", "", sessionstate.ErrInvalidURI},
	{"a path is not absolute", "/cb", sessionstate.ErrInvalidURI},
	{"a network-path reference is not absolute", "//rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"a query is not absolute", "?x", sessionstate.ErrInvalidURI},
	{"a name is not absolute", "rp.example.com", sessionstate.ErrInvalidURI},
	{"a URI without slashes", "https:rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"a URI with one slash", "https:/rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"a URI with three slashes", "https:///rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"no host", "https://", sessionstate.ErrInvalidURI},
	{"no host but a port", "https://:443/cb", sessionstate.ErrInvalidURI},
	{"a host of nothing visible", "https://\u00ad/cb", sessionstate.ErrInvalidURI},
	{"a user", "https://user@rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"a user and a password", "https://user:secret@rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"an empty user", "https://@rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"a backslash for a slash", "https:\\\\rp.example.com\\cb", sessionstate.ErrInvalidURI},
	{"a backslash behind the host", "https://rp.example.com\\@op.example.com/cb", sessionstate.ErrInvalidURI},
	{"a backslash in the host", "https://rp.example.com\\cb", sessionstate.ErrInvalidURI},
	{"a space in the host", "https://rp example.com/cb", sessionstate.ErrInvalidURI},
	{"a wide space in the host", "https://rp\u3000example.com/cb", sessionstate.ErrInvalidURI},
	{"a wide colon in the host", "https://rp.example.com：443/cb", sessionstate.ErrInvalidURI},
	{"a sign that is written with a slash", "https://rp.example.com℀/cb", sessionstate.ErrInvalidURI},
	{"a percent sign in the host", "https://rp%25.example.com/cb", sessionstate.ErrInvalidURI},
	{"a wide percent sign in the host", "https://rp％41.example.com/cb", sessionstate.ErrInvalidURI},
	{"a letter percent-encoded in the host", "https://%72p.example.com/cb", sessionstate.ErrInvalidURI},
	{"bytes that are no UTF-8 in the host", "https://rp\xff.example.com/cb", sessionstate.ErrInvalidURI},
	{"the same percent-encoded", "https://rp%FF.example.com/cb", sessionstate.ErrInvalidURI},
	{"an A-label of nothing", "https://xn--.example/cb", sessionstate.ErrInvalidURI},
	{"an A-label of nothing in wide letters", "https://ｘn--.example/cb", sessionstate.ErrInvalidURI},
	{"an A-label that is not ASCII", "https://xn--a😀-.example/cb", sessionstate.ErrInvalidURI},
	{"an A-label of ASCII", "https://xn--a-.example/cb", sessionstate.ErrInvalidURI},
	{"a bracket in the host", "https://rp.exam[ple.com/cb", sessionstate.ErrInvalidURI},
	{"angle brackets in the host", "https://<rp>.example.com/cb", sessionstate.ErrInvalidURI},
	{"a bar in the host", "https://rp|x.example.com/cb", sessionstate.ErrInvalidURI},
	{"a tab", "https://rp.example\t.com/cb", sessionstate.ErrInvalidURI},
	{"a line end", "https://rp.example.com/cb\r\nX: y", sessionstate.ErrInvalidURI},
	{"a NUL", "https://rp.example.com\x00/cb", sessionstate.ErrInvalidURI},
	{"a DEL", "https://rp.example.com\x7f/cb", sessionstate.ErrInvalidURI},
	{"a space in front", " https://rp.example.com/cb", sessionstate.ErrInvalidURI},
	{"port 65536", "https://rp.example.com:65536/cb", sessionstate.ErrInvalidURI},
	{"a port beyond any number", "https://rp.example.com:99999999999999999999/cb", sessionstate.ErrInvalidURI},
	{"a signed port", "https://rp.example.com:+443/cb", sessionstate.ErrInvalidURI},
	{"a named port", "https://rp.example.com:https/cb", sessionstate.ErrInvalidURI},
	{"two ports", "https://rp.example.com:443:443/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address in two parts", "http://127.1/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address in one number", "http://2130706433/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address in hexadecimal", "http://0x7f.0.0.1/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address with a hexadecimal end", "http://127.0.0.0X1/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address that ends in 0x", "http://127.0.0.0x/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address in octal", "http://0177.0.0.1/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address with a trailing dot", "http://127.0.0.1./cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address out of range", "http://256.0.0.1/cb", sessionstate.ErrInvalidURI},
	{"a name that ends in a number", "https://rp.example.1/cb", sessionstate.ErrInvalidURI},
	{"a zone", "https://[fe80::1%25eth0]/cb", sessionstate.ErrInvalidURI},
	{"an IPv4 address in brackets", "https://[127.0.0.1]/cb", sessionstate.ErrInvalidURI},
	{"a name in brackets", "https://[rp.example.com]/cb", sessionstate.ErrInvalidURI},
	{"an IPv6 address with too many parts", "https://[1:2:3:4:5:6:7:8:9]/cb", sessionstate.ErrInvalidURI},
	{"empty brackets", "https://[]/cb", sessionstate.ErrInvalidURI},
	{"an open bracket", "https://[::1/cb", sessionstate.ErrInvalidURI},
	{"an IPv6 address without brackets", "https://::1/cb", sessionstate.ErrInvalidURI},
}

func TestOriginRefuses(t *testing.T) {
	for _, tt := range refusedURIs {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sessionstate.Origin(tt.uri)
			if !errors.Is(err, tt.want) || got != "" {
				t.Fatalf("%q: got %q, %v", tt.uri, got, err)
			}
			for _, part := range []string{"example", "user@", "secret", "alert"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%q repeats the URI", err)
				}
			}
		})
	}
}

// What Origin accepts must be what a browser has as e.origin, or every check would answer
// "changed". Node.js has the same parser as browsers (WHATWG URL).
func TestOriginIsWhatABrowserNames(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts Node.js")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	uris := append(tableURIs(), assembledURIs(20000)...)
	var accepted, origins []string
	for _, uri := range uris {
		if origin, err := sessionstate.Origin(uri); err == nil {
			accepted, origins = append(accepted, uri), append(origins, origin)
		}
	}
	if len(accepted) < len(acceptedURIs)+1000 {
		t.Fatalf("only %d of %d URIs were accepted", len(accepted), len(uris))
	}
	wrong := 0
	for i, want := range nodeOrigins(t, node, accepted) {
		if origins[i] != want && wrong < 20 {
			t.Errorf("%q: got %q, a browser has %q", accepted[i], origins[i], want)
			wrong++
		}
	}
}

func tableURIs() []string {
	var uris []string
	for _, tt := range acceptedURIs {
		uris = append(uris, tt.uri)
	}
	for _, tt := range refusedURIs {
		uris = append(uris, tt.uri)
	}
	return uris
}

// assembledURIs combines parts that parsers disagree on, the same way in each run.
func assembledURIs(n int) []string {
	schemes := []string{"https://", "http://", "HTTPS://"}
	ends := []string{"", "/", "/cb", "?x", "#f", ":", ":80", ":443/", ":0443", ":0", ":65535", ":65536", ":8443/x"}
	parts := []string{
		"a", "B", "z", "example", "localhost", "0", "1", "9", "07", "0x", "0X1f", "ff", "256", "1.1", "127.0.0.1", "0.0.0.0x0",
		".", ".", ".", "-", "--", "_", "~", "!", "$", "&", "'", "(", ")", "*", "+", ",", ";", "=", "`", "{", "}", "\"", "^", "|", "<", ">",
		"%", "%25", "%C3%BC", "%61", "%2e", "%FF", "%ef%bd%98n--", ":", ":443", "@", "user@", "\\", "/", "//", "?", "#", " ", "\t", "\x00", "\x7f",
		"[", "]", "[::1]", "[1::]", "[::ffff:1.2.3.4]", "[::1.2.3.4]", "[0:0:1:0:0:0:0:1]", "[fe80::1%25eth0]",
		"xn--", "XN--", "xn--bcher-kva", "xn--a", "xn--zca", "xn--a-", "ex-", "-ex",
		"ü", "Ü", "ß", "ẞ", "ς", "ı", "İ", "Å", "ﬀ", "ſ", "א", "ا", "٠", "۰", "。", "．", "１", "ａ", "％", "：", "℀", "⒈", "≠", "😀",
		"\u00a0", "\u3000", "\u00ad", "\u200c", "\u200d", "\u0301", "\u20dd", "\u212a", "\ufffd", "\xff",
		strings.Repeat("a", 64), strings.Repeat("a", 260), strings.Repeat("ü", 60),
	}
	random := rand.New(rand.NewPCG(6454, 3986)) // the same URIs each time
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	uris := make([]string, 0, n)
	for range n {
		uri := pick(schemes)
		for range 1 + random.IntN(5) {
			uri += pick(parts)
		}
		uris = append(uris, uri+pick(ends))
	}
	return uris
}

func nodeOrigins(t *testing.T, node string, uris []string) []string {
	t.Helper()
	const script = `const uris = JSON.parse(require('fs').readFileSync(0));
		const origin = (uri) => { try { return new URL(uri).origin } catch { return 'none' } };
		process.stdout.write(JSON.stringify(uris.map(origin)));`
	input, err := json.Marshal(uris)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "-e", script)
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var origins []string
	if err := json.Unmarshal(output, &origins); err != nil || len(origins) != len(uris) {
		t.Fatalf("node answered for %d of %d URIs: %v", len(origins), len(uris), err)
	}
	return origins
}

func FuzzOrigin(f *testing.F) {
	for _, uri := range tableURIs() {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		origin, err := sessionstate.Origin(uri)
		if err != nil {
			if origin != "" || errors.Is(err, sessionstate.ErrNoOrigin) == errors.Is(err, sessionstate.ErrInvalidURI) {
				t.Fatalf("%q gave %q, %v", uri, origin, err)
			}
			return
		}
		isOrigin(t, uri, origin)
	})
}

// isOrigin checks the origin of a URI.
func isOrigin(t *testing.T, uri, origin string) {
	t.Helper()
	for _, c := range []byte(origin) {
		if c <= ' ' || c >= 0x7f || c >= 'A' && c <= 'Z' {
			t.Fatalf("%q gave %q, which is not lower-case ASCII", uri, origin)
		}
	}
	if again, err := sessionstate.Origin(origin); err != nil || again != origin {
		t.Fatalf("%q gave %q, which gives %q, %v", uri, origin, again, err)
	}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || scheme != "http" && scheme != "https" || host == "" || strings.ContainsAny(host, "/?#@\\%") {
		t.Fatalf("%q gave %q, which is more or less than an origin", uri, origin)
	}
	if with, err := sessionstate.Origin(origin + "/cb?q#f"); err != nil || with != origin {
		t.Fatalf("%q with a path gave %q, %v", origin, with, err)
	}
}
