package sessionstate_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const appHost = "app.example.com"

// someCertificate is that of session=value for all of the host.
func someCertificate() sessionstate.Certificate {
	c := sessionstate.NewCertificate("session", "value", appHost, "", "/")
	c.Session = knownSession
	return c
}

func TestOpenCertificateReturnsWhatSealCertificateTook(t *testing.T) {
	long := "/" + strings.Repeat("p", 254)
	tests := map[string]struct {
		domain, path, wantPath string
		serial                 bool
		length                 int // at most
	}{
		"host-only, of the whole site":       {"", "/", "/", false, 100},
		"without session, of the whole site": {"", "/", "/", true, 100},
		"of a path":                          {"", "/user/alice/", "/user/alice/", false, 117},
		"of the longest path":                {"", long, long, false, 441},
		"of a longer path":                   {"", long + "p", "", false, 100},
		"of a Domain":                        {"example.com", "/", "/", false, 116},
		"of a Domain and a path, no session": {"example.com", "/x", "/x", true, 120},
		"of the longest Domain and path":     {strings.Repeat("d", 255), long, long, true, 783},
		"of a path that no browser sends":    {"", "\x00;\xff", "\x00;\xff", false, 105},
	}
	ring := mustKeyring(t, oldSecret)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			host := appHost
			if tt.domain != "" {
				host = "x." + tt.domain
			}
			c := sessionstate.NewCertificate("session", "value", host, tt.domain, tt.path)
			if tt.serial {
				c.Serial = sessionstate.NewSerial()
			} else {
				c.Session = knownSession
			}
			sealed := ring.SealCertificate(c)
			if len(sealed) > tt.length {
				t.Errorf("it has %d characters, over %d", len(sealed), tt.length)
			}
			got, err := ring.OpenCertificate(sealed)
			if err != nil || got != c || got.Path != tt.wantPath || got.Domain != tt.domain {
				t.Errorf("got %+v, %v, want %+v", got, err, c)
			}
			if !got.IsFor("session", "value", host) {
				t.Error("it is not for its own cookie")
			}
			if ring.SealCertificate(c) == sealed {
				t.Error("it is the same the second time")
			}
		})
	}
}

func TestACertificateIsForOneValueOfOneCookieAtOneHost(t *testing.T) {
	wide := sessionstate.NewCertificate("session", "value", appHost, "example.com", "/")
	tests := map[string]struct {
		certificate       sessionstate.Certificate
		name, value, host string
		want              bool
	}{
		"its own":                        {someCertificate(), "session", "value", appHost, true},
		"another name":                   {someCertificate(), "session2", "value", appHost, false},
		"the name in other letters":      {someCertificate(), "Session", "value", appHost, false},
		"another value":                  {someCertificate(), "session", "value2", appHost, false},
		"no value":                       {someCertificate(), "session", "", appHost, false},
		"another host":                   {someCertificate(), "session", "value", "other.example.com", false},
		"the parent":                     {someCertificate(), "session", "value", "example.com", false},
		"a child":                        {someCertificate(), "session", "value", "x." + appHost, false},
		"another cut":                    {someCertificate(), "session\x00host " + appHost, "value", appHost, false},
		"its own, of a Domain":           {wide, "session", "value", appHost, true},
		"another host of the Domain":     {wide, "session", "value", "other.example.com", true},
		"a host below that":              {wide, "session", "value", "a.b.example.com", true},
		"the Domain itself":              {wide, "session", "value", "example.com", true},
		"another Domain that ends alike": {wide, "session", "value", "notexample.com", false},
		"the Domain's parent":            {wide, "session", "value", "com", false},
		"another value, of a Domain":     {wide, "session", "value2", appHost, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.certificate.IsFor(tt.name, tt.value, tt.host); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A certificate of a Domain says so under the seal: nobody can make it one of a host, or of another
// Domain.
func TestTheDomainOfACertificateIsPartOfWhatItIsFor(t *testing.T) {
	changes := map[string]func(c *sessionstate.Certificate){
		"none":    func(c *sessionstate.Certificate) { c.Domain = "" },
		"another": func(c *sessionstate.Certificate) { c.Domain = "com" },
	}
	for name, change := range changes {
		c := sessionstate.NewCertificate("session", "value", appHost, "example.com", "/")
		change(&c)
		if c.IsFor("session", "value", appHost) {
			t.Errorf("%s: it is for its cookie", name)
		}
	}
}

func TestAllKeysOpenACertificate(t *testing.T) {
	sealed := mustKeyring(t, oldSecret).SealCertificate(someCertificate())
	if got, err := mustKeyring(t, newSecret, oldSecret).OpenCertificate(sealed); err != nil || got != someCertificate() {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := mustKeyring(t, newSecret).OpenCertificate(sealed); !errors.Is(err, sessionstate.ErrSeal) || got != (sessionstate.Certificate{}) {
		t.Errorf("without its key, got %+v, %v", got, err)
	}
}

func TestOpenCertificateRefuses(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	sealed := ring.SealCertificate(someCertificate())
	seal := func(purpose string, length int) string { return ring.Seal(purpose, "", make([]byte, length)) }
	tests := map[string]string{
		"nothing":             "",
		"no base64":           "%" + sealed[1:],
		"padding":             sealed + "=",
		"more":                sealed + "A",
		"less":                sealed[:len(sealed)-1],
		"another purpose":     seal("cookie", 33),
		"too short a content": seal("certificate", 32),
		"more content":        seal("certificate", 34),
		"another issuer's":    ring.Seal("certificate", issuer, make([]byte, 33)),
		"a path cut off":      ring.Seal("certificate", "", append([]byte{2}, make([]byte, 32)...)),
		"a path too short":    ring.Seal("certificate", "", append(append([]byte{2}, make([]byte, 32)...), 5, '/', 'a')),
		"more than the path":  ring.Seal("certificate", "", append(append([]byte{2}, make([]byte, 32)...), 1, '/', 'a')),
		"a domain cut off":    ring.Seal("certificate", "", append([]byte{8}, make([]byte, 32)...)),
		"a handle":            ring.SealHandle(issuer, someHandle()),
	}
	for name, sealed := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := ring.OpenCertificate(sealed); !errors.Is(err, sessionstate.ErrSeal) || got != (sessionstate.Certificate{}) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestACertificateThatWasTamperedWithDoesNotOpen(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	raw, err := base64.RawURLEncoding.DecodeString(ring.SealCertificate(someCertificate()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if _, err := ring.OpenCertificate(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, sessionstate.ErrSeal) {
				t.Errorf("byte %d, bit %d: it opens", i, bit)
			}
			raw[i] ^= 1 << bit
		}
	}
}

func TestACertificateShowsNothing(t *testing.T) {
	c := sessionstate.NewCertificate("session", "value", appHost, "example.com", "/path/of/the/app")
	c.Session = knownSession
	raw, err := base64.RawURLEncoding.DecodeString(mustKeyring(t, oldSecret).SealCertificate(c))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{string(knownSession[:4]), "path", "example"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("%q is readable", secret)
		}
	}
}

func TestSerialsDiffer(t *testing.T) {
	seen := make(map[sessionstate.Serial]bool)
	for range 100 {
		serial := sessionstate.NewSerial()
		if seen[serial] || serial == (sessionstate.Serial{}) {
			t.Fatalf("%x came twice, or is zero", serial)
		}
		seen[serial] = true
	}
}

func FuzzOpenCertificate(f *testing.F) {
	ring := mustKeyring(f, oldSecret, newSecret)
	known := ring.SealCertificate(someCertificate())
	f.Add(known, "session", "value", appHost, "", "/")
	f.Add(known[:50], "a", "b", "c", "example.com", "/x")
	f.Add("", "", "", "", "", "")
	f.Add("=", "\x00", "\x00", "host ", "domain ", strings.Repeat("/", 300))
	f.Fuzz(func(t *testing.T, sealed, name, value, host, domain, path string) {
		c, err := ring.OpenCertificate(sealed)
		switch {
		case err != nil:
			if !errors.Is(err, sessionstate.ErrSeal) || c != (sessionstate.Certificate{}) {
				t.Fatalf("%q gave %+v, %v", sealed, c, err)
			}
		case c != someCertificate(): // that of the seed, in whichever process it was sealed
			t.Fatalf("%q was forged: %+v", sealed, c)
		}
		if len(domain) > 255 {
			return
		}
		made := sessionstate.NewCertificate(name, value, host, domain, path)
		made.Serial = sessionstate.NewSerial()
		got, err := ring.OpenCertificate(ring.SealCertificate(made))
		if err != nil || got != made {
			t.Fatalf("%+v sealed and opened is %+v, %v", made, got, err)
		}
		if domain == "" && !got.IsFor(name, value, host) {
			t.Fatal("it is not for its own cookie")
		}
		if got.IsFor(name+"x", value, host) || got.IsFor(name, value+"x", host) || domain == "" && got.IsFor(name, value, host+"x") {
			t.Fatal("it is for another")
		}
	})
}
