package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program of the cluster. Its output goes to a file; see Cluster.LogFiles.
type Process struct {
	Name string
	// Port is the TCP port at which a cloud controller manager serves HTTPS.
	Port int

	log  string
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	mayEnd bool // if the program ends, that is no crash
}

// Run starts a program that is not part of the cluster, in the network namespace netns.
// If netns is empty, it starts the program in the namespace of the control plane.
func (c *Cluster) Run(name, netns string, args ...string) (*Process, error) {
	return c.start(name, netns, args...)
}

// start starts a program in the network namespace netns. If netns is empty, it starts
// the program in the namespace of the control plane.
func (c *Cluster) start(name, netns string, args ...string) (*Process, error) {
	return c.startEnv(nil, name, netns, args...)
}

func (c *Cluster) startEnv(env []string, name, netns string, args ...string) (*Process, error) {
	if netns != "" {
		args = append([]string{"nsenter", "--net=/run/netns/" + netns}, args...)
	}
	p := &Process{Name: name, log: filepath.Join(c.env.Dir, "logs", name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must reach the test only, which stops the program
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the process state says how the program ended
		close(p.done)
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, p)
	return p, nil
}

// Stop sends SIGTERM to the program and waits until it has ended. After 15 s it kills
// the program.
func (p *Process) Stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.Kill()
	}
}

// Kill sends SIGKILL to the program and waits until it has ended.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Freeze makes the program hang until Thaw is called.
func (p *Process) Freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) } // fails only if the program has ended

// Thaw lets a frozen program run again.
func (p *Process) Thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// MayEnd declares that the program may end by itself, and that this is no crash.
func (p *Process) MayEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mayEnd = true
}

func (p *Process) signal(s syscall.Signal) {
	p.MayEnd()
	_ = p.cmd.Process.Signal(s) // fails only if the program has ended
}

// Running reports whether the program has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode returns the exit status of the program. It is valid when Done is closed.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// CPU returns the CPU time that the program has used since its start (proc(5),
// /proc/pid/stat).
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of %s: %w", p.Name, err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the third field and those after it
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of %s: %w", p.Name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ is 100 ticks a second
}

// Memory returns the resident memory of the program in bytes (proc(5), VmRSS).
func (p *Process) Memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", p.Name, err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", p.Name, err)
	}
	return kb << 10, nil
}

// Log returns the output of the program, and of earlier programs with the same name.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// crashed reports whether the program has ended by itself.
func (p *Process) crashed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.mayEnd && !p.Running()
}

// run runs a command and waits until it has ended. The error contains its output.
func run(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
