package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// diskVariable names the directory where Caddy gets a disk of its own, of two megabytes.
const diskVariable = "OIDC_SESSION_E2E_DISK"

func init() {
	dir := os.Getenv(diskVariable)
	if dir == "" {
		return
	}
	if os.Getenv(guardVariable) != "" {
		guarded = func() *syscall.SysProcAttr {
			attributes := &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNS}
			if os.Getuid() != 0 {
				attributes.Cloneflags |= syscall.CLONE_NEWUSER
				attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
				attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			}
			return attributes
		}
		return
	}
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), // nobody outside sees it
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"),
	)
	if err != nil {
		fmt.Println(errNoDisk, err)
		os.Exit(1)
	}
}

var errNoDisk = errors.New("cannot mount")

// needDisk skips the test where no disk can be mounted.
func needDisk(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := start(t, dir, []string{diskVariable + "=" + dir}, self, "-test.run", "^$")
	<-p.exited
	if output := strings.Join(p.output.snapshot(), "\n"); !strings.Contains(output, "PASS") {
		t.Skipf("no disk can be mounted here: %s", output)
	}
}

// A disk is that of a Caddy, as it is seen from outside.
type disk struct{ filler string }

func diskOf(t *testing.T, s *site, dir string) disk {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	return disk{filepath.Join("/proc", string(bytes.TrimSpace(pid)), "root", dir, "filler")}
}

// fill takes all that is left.
func (d disk) fill(t *testing.T) {
	t.Helper()
	err := os.WriteFile(d.filler, make([]byte, 4<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
}

// While there is no space, users sign in and out, and nothing wrong is said; when there is again,
// all goes on by itself.
func TestUsersSignInAndOutWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needDisk(t)
	var notified atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { notified.Add(1) }))
	t.Cleanup(app.Close)
	op := leavable[1]
	op.signOut = scriptedProvider.signOut
	op.options = strings.ReplaceAll(op.options, shopClient, "\n\t\tbackchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t}\n\t\t") +
		client("shop", "The Shop", "backchannel_logout_uri "+app.URL)
	s, host := newSite(t), op.host(crossSite)
	dir := t.TempDir()
	s.careless, s.environment = true, []string{diskVariable + "=" + dir}
	s.global = "oidc_session {\n\t\tstore file " + filepath.Join(dir, "registry.db") + "\n\t}"
	for i := range 50 {
		s.clients[strings.Repeat("x", 500)+strconv.Itoa(i)] = shopHost
	}
	s.addOP(t, host, op)
	s.start(t)
	full := diskOf(t, s, dir)
	p, asking := newPerson(t, s, host), newPerson(t, s, host)
	before := signInAtMany(t, p)

	full.fill(t)
	signInUntil(t, s, host, "unknown", 5)
	asking.expectAnswer(t, "recorded before the disk was full", before, "unchanged")
	l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, allowed), host: host, readable: true}}
	l.signInAsBoth(t, "bob")
	expectUnchanged(t, l.shop, 3) // the cookie decides, if there was no room for the session
	l.op.signOut(t, l.browser.open(t, s.url(host, "/")))
	if got := event(t, l.wiki); got != "signed out" {
		t.Errorf("after the sign-out, the events are %q", got)
	}
	const later = "Your apps could not be told of it yet."
	if page, back, err := p.signOut(before); back || !strings.Contains(page, later) {
		t.Errorf("the sign-out leads to %s (%v)", page, err)
	}

	if err := os.Remove(full.filler); err != nil {
		t.Fatal(err)
	}
	asking.expectAnswer(t, "with space", signInUntil(t, s, host, "unchanged", 1), "unchanged")
	again, err := p.signIn("shop", "alice")
	if err != nil {
		t.Fatal(err)
	}
	asking.expectAnswer(t, "at the next sign-in", again, "unchanged")
	asking.expectAnswer(t, "at the next sign-in, of the session that was ended before", before, "changed")
	for deadline := time.Now().Add(waitLimit); notified.Load() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the app was not notified of the sign-out")
		}
	}
}

// signInAtMany signs alice in at so many clients that the record of her browser takes pages of its
// own: its end finds no room in a full file, as that of a small one may.
func signInAtMany(t *testing.T, p *person) (atShop signedIn) {
	t.Helper()
	for client := range p.site.clients {
		a, err := p.signIn(client, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if client == "shop" {
			atShop = a
		}
	}
	return atShop
}

// signInUntil has people sign in until the server says so of some in a row: the full file has room
// for a few, and is opened again after a few seconds. It returns the last.
func signInUntil(t *testing.T, s *site, host, want string, times int) signedIn {
	t.Helper()
	row := 0
	for deadline := time.Now().Add(2 * waitLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		p := newPerson(t, s, host)
		a, err := p.signIn("shop", "carol")
		if err != nil {
			t.Fatal(err)
		}
		row++
		if got, err := p.ask(a); err != nil || got != want {
			row = 0
		}
		if row == times {
			return a
		}
	}
	t.Fatalf("sign-ins are not %s", want)
	return signedIn{}
}
