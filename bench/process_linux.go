package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server under measurement, in a process group of its own.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	// the last CPU time of each thread in ns, of those that have ended too
	threads map[string]int64
}

// startProcess starts a program whose output goes to the file log.
func startProcess(log string, env []string, program string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL, // should this program be killed
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, exited: make(chan struct{}), threads: make(map[string]int64)}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop ends the process and all that it started.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// await waits until ready, or until it is clear that this will not be.
func (p *process) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("it ended at once:\n%s", p.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w\n%s", ctx.Err(), p.lastLines())
		}
	}
	return nil
}

func (p *process) lastLines() string {
	out, _ := os.ReadFile(p.log)
	return string(out[max(0, len(out)-2000):])
}

var errNoSchedstat = errors.New("this kernel does not count the CPU time of threads in /proc (CONFIG_SCHED_INFO)")

// cpuTime returns the CPU time spent so far, in ns. The kernel has it to the ns for each thread;
// for a whole process it has only ticks of 10 ms. /proc/PID/schedstat is the first thread's alone.
func (p *process) cpuTime() (int64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH):
			continue // it has ended meanwhile
		case err != nil:
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		if p.threads[file], err = strconv.ParseInt(first, 10, 64); err != nil {
			return 0, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	var sum int64
	for _, ns := range p.threads {
		sum += ns
	}
	if sum == 0 {
		return 0, errNoSchedstat
	}
	return sum, nil
}

// threadCPUTime returns the CPU time that the calling thread has spent so far, in ns; the kernel
// tells it in µs. Unlike its schedstat, which lags behind by up to a tick for a thread that runs,
// it is of this moment.
func threadCPUTime() (int64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &usage); err != nil {
		return 0, err
	}
	return usage.Utime.Nano() + usage.Stime.Nano(), nil
}

// ticks is how long a tick of /proc/stat is: USER_HZ is 100 on all architectures that Go runs on.
const ticks = 10 * time.Millisecond

// machineTime returns how long the machine's cores have been busy, and how long they have been
// there.
func machineTime() (busy, all time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	// user nice system idle iowait irq softirq steal
	for i, field := range strings.Fields(first)[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading /proc/stat: %w", err)
		}
		all += time.Duration(n) * ticks
		if i != 3 && i != 4 {
			busy += time.Duration(n) * ticks
		}
	}
	return busy, all, nil
}

// ownTime returns the CPU time of this process and of those that it started and that have ended.
func ownTime() (own time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		_ = syscall.Getrusage(who, &usage) // fails for no such who only
		own += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return own
}
