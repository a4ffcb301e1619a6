package guard_test

import (
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

// FuzzSetCookie: whatever an app sets reaches the browser as it is, and what only the server can
// set has a certificate with the same attributes.
func FuzzSetCookie(f *testing.F) {
	for _, line := range []string{
		"sid=1; HttpOnly; Path=/", "__Host-sid=1; Secure; HttpOnly; Path=/", "sid=1; httponly=x; SameSite=Lax", "sid={\"a\": 1}; HttpOnly",
		"sid.1=1; HttpOnly", "=sid=1; HttpOnly", "sid", ";;HttpOnly", "sid=\"1\"; Path=a; HttpOnly", "sid=1; HttpOnly; Domain=", "sid=1; Domain=a; Domain=; HttpOnly",
		"sid=1; HttpOnly\xe9; HttpOnly=\xe9", "sid = 1 ; HttpOnly ; Max-Age=10", "sess[id]=1;HttpOnly;Expires=Thu, 01 Jan 1970 00:00:00 GMT", "oidc_guard_00000000=1; HttpOnly",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		alice := newScene(t).party("alice") // to whom no name is known
		code := alice.code()
		_, w := alice.send(httptest.NewRequest("GET", "/a/callback?code="+code, nil), func() { alice.redeem(code) }, line)
		lines := w.Header()["Set-Cookie"]
		if len(lines) == 0 || lines[0] != line {
			t.Fatalf("the app's line is %q", lines)
		}
		name, attributes, certifiable := readAsBrowsersDo(line)
		if len(lines) > 2 || len(lines) == 2 && (!strings.HasPrefix(lines[1], guard.CertificateName(name)+"=") || !strings.Contains(lines[1], attributes)) {
			t.Errorf("to %q, it adds %q", line, lines[1:])
		}
		if certifiable && len(lines) != 2 {
			t.Errorf("%q has no certificate", line)
		}
	})
}

// readAsBrowsersDo reads a Set-Cookie line (RFC 6265, section 5.2). certifiable: only the server can
// have set it, and it is kept for some time.
func readAsBrowsersDo(line string) (name, attributes string, certifiable bool) {
	pair := line
	if i := strings.IndexByte(line, ';'); i >= 0 {
		pair, attributes = line[:i], line[i:]
	}
	name, value, ok := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	httpOnly, domain, ages := false, "", false
	for attribute := range strings.SplitSeq(attributes, ";") {
		key, of, _ := strings.Cut(attribute, "=")
		switch strings.ToLower(strings.Trim(key, " \t")) {
		case "httponly":
			httpOnly = true
		case "domain":
			domain = strings.Trim(of, " \t")
		case "max-age", "expires":
			ages = true
		}
	}
	ours := strings.Contains(name, "oidc_guard_")
	return name, attributes, ok && name != "" && strings.Trim(value, `"`) != "" && httpOnly && domain == "" && !ages && !ours && !looksLikeAChunk(name)
}

func looksLikeAChunk(name string) bool { return strings.ContainsAny(name, "._") }

// FuzzCookies: whatever cookies a browser sends, those that are none of our business reach the app
// byte for byte and in their order, a session cookie only with its certificate, and all that at a
// cost that is bounded by their length.
func FuzzCookies(f *testing.F) {
	s := newScene(f)
	alice := s.party("alice")
	alice.signIn("sid=alice; HttpOnly; Path=/", "sid.0=a; HttpOnly; Path=/")
	certificate := alice.certificate("sid")
	for _, cookies := range []string{
		"a=b; sid=x", "sid=alice; CERT", "flag; =x; a = b;;\tc=\"d\"; sid=\"alice\"; CERT", "a={\"b\": 1}; sid=alice; CERT; sid=alice2",
		"sid.0=b; sid.1=c; sid.2=d", "SID=x; a=b, sid=x; %73id=x", "oidc_guard_00000000=x; a=b", "\xa0sid=x; a=\xff", "a=b,c d=e,f=; CERT; CERT",
	} {
		f.Add(cookies, "z=1")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		s.TB = t
		var lines []string
		for _, line := range []string{first, second} {
			lines = append(lines, strings.ReplaceAll(line, "CERT", certificate))
		}
		if len(lines[0])+len(lines[1]) > 8<<10 || strings.Count(first+second, ";") > 500 {
			return
		}
		r := httptest.NewRequest("GET", "/a/b", nil)
		r.Header["Cookie"] = append([]string(nil), lines...)
		var got []string
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.party("").send(r, func() { got = r.Header["Cookie"] })
		runtime.ReadMemStats(&after)
		length := uint64(len(lines[0]) + len(lines[1]))
		if used := after.TotalAlloc - before.TotalAlloc; used > 200*length+1<<20 {
			t.Errorf("%d bytes are allocated for %d", used, length)
		}
		hasOwn := false
		for pair := range strings.SplitSeq(strings.Join(got, ";"), ";") {
			name, value, _ := strings.Cut(pair, "=")
			if strings.Trim(name, " \t") != "sid" || strings.Trim(value, " \t\"") == "" {
				continue
			}
			hasOwn = true
			if strings.Trim(value, " \t") != "alice" {
				t.Errorf("of %q, %q reaches the app", lines, pair)
			}
		}
		if hasOwn && !strings.Contains(first+second, "CERT") {
			t.Errorf("of %q, a copy without certificate reaches the app", lines)
		}
		want, has := othersOf(lines), othersOf(got)
		if strings.Join(want, ";") != strings.Join(has, ";") {
			t.Errorf("of %q, the app gets %q: want %q, got %q", lines, got, want, has)
		}
	})
}

// othersOf are the pairs that cannot be a session cookie to any server, as they came but for the
// spaces at the ends.
func othersOf(lines []string) (pairs []string) {
	for pair := range strings.SplitSeq(strings.Join(lines, ";"), ";") {
		lower := strings.ToLower(pair)
		if !strings.Contains(lower, "sid") && !strings.Contains(lower, "%") && !strings.Contains(pair, "oidc_guard_") && strings.Trim(pair, " \t") != "" {
			pairs = append(pairs, strings.Trim(pair, " \t"))
		}
	}
	return pairs
}
