package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program that a test started. It ends with the test, whatever happens to either.
type process struct {
	output *lines // what it wrote, both streams
	hold   io.Closer
	exited chan struct{}
}

// kill ends it at once, as a power cut would.
func (p *process) kill() {
	p.hold.Close()
	<-p.exited
}

// lines are what a process wrote so far.
type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{} // has an element when there are lines that were not waited for
}

func (l *lines) add(line string) {
	l.mu.Lock()
	l.all = append(l.all, line)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *lines) snapshot() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// start starts a program under a guard, in the directory and with the additions to the environment
// that are given. Ask for temporary directories before, so that they outlive the program.
func start(t *testing.T, dir string, env []string, program string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{program}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), env...), guardVariable+"=1")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{output: &lines{more: make(chan struct{}, 1)}, hold: hold, exited: make(chan struct{})}
	go func() {
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			p.output.add(scanner.Text())
		}
		io.Copy(io.Discard, r) // a line longer than the scanner takes
	}()
	go func() {
		cmd.Wait()
		w.Close()
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	return p
}

// waitLine returns what find makes of the first line of output that it accepts.
func (p *process) waitLine(t *testing.T, what string, find func(line string) (string, bool)) string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		for _, line := range p.output.snapshot() {
			if found, ok := find(line); ok {
				return found
			}
		}
		select {
		case <-p.output.more:
		case <-p.exited:
			t.Fatalf("it ended without %s: %q", what, p.output.snapshot())
		case <-timeout:
			t.Fatalf("no %s in time: %q", what, p.output.snapshot())
		}
	}
}

// guarded are the attributes of a guarded program, which has a disk of its own where the test can
// give it one.
var guarded = func() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// guard runs a program in a process group of its own, and kills that group when its own standard
// input ends: the test that holds the other end is over then, be it by a panic or a signal.
func guard(program string, args []string) int {
	// A Ctrl-C in the terminal is the test's to handle; its end is the end of the input.
	signal.Ignore(os.Interrupt)
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = guarded()
	if err := cmd.Start(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	input := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(input)
	}()
	select {
	case <-ended:
	case <-input:
	}
	killGroup(cmd.Process.Pid)
	<-ended
	return 0
}

// killGroup kills a process group and waits, for two seconds at most, until none of it is left to
// write into a directory that is about to be removed.
func killGroup(id int) {
	for range 200 {
		if syscall.Kill(-id, syscall.SIGKILL) == syscall.ESRCH {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
