package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// processVariable is the environment variable that makes the test binary a Caddy with this plugin: Caddy is one to a process.
const processVariable = "OIDC_SESSION_TEST_CADDY"

// laterVariable is how far such a process's clock is ahead.
const laterVariable = "OIDC_SESSION_TEST_LATER"

const (
	serving   = "serve"   // it loads the configurations that its input names, until its input ends: with the test at the latest
	commanded = "command" // it is Caddy's command line
)

func TestMain(m *testing.M) {
	registry.Limit = 10 * time.Second // a busy machine is no reason for a login to go on without its record
	switch os.Getenv(processVariable) {
	case serving:
		serveConfigurations()
	case commanded:
		caddycmd.Main()
	default:
		os.Exit(runTests(m))
	}
}

// runTests runs the tests with directories of their own: nothing of the user's is found or changed.
func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "oidc_session")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, variable := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if err := os.Setenv(variable, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// serveConfigurations loads the file that each line of the input names, and answers with one line.
func serveConfigurations() {
	if later, err := time.ParseDuration(os.Getenv(laterVariable)); err == nil {
		clock.Now = func() time.Time { return time.Now().Add(later) }
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		config, err := os.ReadFile(lines.Text())
		if err == nil {
			err = caddy.Load(config, true)
		}
		if err != nil {
			fmt.Printf("%q\n", err)
			continue
		}
		fmt.Println("loaded")
	}
	if err := caddy.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping Caddy:", err)
	}
}

// A caddyProcess is a Caddy in a process of its own. It ends with the test.
type caddyProcess struct {
	dir     string // its own: data, storage and configurations
	input   io.WriteCloser
	answers *bufio.Scanner
	log     *textLog
	ended   chan struct{}
	process *os.Process
}

// startCaddy runs Caddy in a process of its own with a Caddyfile, and variables in its environment.
func startCaddy(t *testing.T, caddyfile string, variables ...string) *caddyProcess {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	p := &caddyProcess{dir: t.TempDir(), log: new(textLog), ended: make(chan struct{})}
	command := processCommand(ctx, serving, p.dir)
	command.Env = append(command.Env, variables...)
	var err error
	if p.input, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.answers = bufio.NewScanner(output)
	command.Stderr = p.log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = command.Process
	t.Cleanup(cancel)
	t.Cleanup(func() { p.stop(t) })
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
	p.load(t, caddyfile)
	return p
}

// processCommand is the test binary as Caddy, which finds nothing of the user's and leaves nothing behind.
func processCommand(ctx context.Context, mode, dir string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Env = append(os.Environ(), processVariable+"="+mode, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return command
}

// load gives the process another configuration, as a reload does.
func (p *caddyProcess) load(t *testing.T, caddyfile string) {
	t.Helper()
	file := filepath.Join(p.dir, "config.json")
	if err := os.WriteFile(file, loggedConfig(t, p.dir, caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(p.input, file); err != nil {
		t.Fatal(err)
	}
	if !p.answers.Scan() || p.answers.Text() != "loaded" {
		t.Fatalf("the other Caddy says %q, its log is\n%s", p.answers.Text(), p.log)
	}
}

// kill ends the process at once, as a power cut would: nothing more is written.
func (p *caddyProcess) kill(t *testing.T) {
	t.Helper()
	if err := p.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// stop has the process end by itself, as on a signal. It is killed when it takes too long.
func (p *caddyProcess) stop(t *testing.T) {
	t.Helper()
	_ = p.input.Close()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Errorf("the other Caddy does not end, its log is\n%s", p.log)
	}
}

// loggedConfig is testConfig with the log on standard error, whatever the test's own verbosity.
func loggedConfig(t *testing.T, storage, caddyfile string) []byte {
	t.Helper()
	return configWith(t, storage, caddyfile, "logging", map[string]any{"logs": map[string]any{"default": map[string]any{"writer": map[string]any{"output": "stderr"}}}})
}

// A textLog is what was written so far.
type textLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *textLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *textLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *textLog) has(text string) bool { return strings.Contains(l.String(), text) }

// expect waits for a text: another process's log comes when it comes.
func (l *textLog) expect(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !l.has(text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log:\n%s", text, l)
		}
	}
}
