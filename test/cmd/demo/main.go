// Command demo tells the story of this project on a terminal: a Service gets an
// address, a client gets a page, the node in charge dies, and the client goes on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// keptVariable is set in the process that keeps a demo up.
const keptVariable = "BAREMETAL_DEMO_KEPT"

func main() {
	keep := flag.Bool("keep", false, "leave the cluster up at the end")
	kubelets := flag.Bool("full", false, "tell the tutorial instead, on nodes with kubelets")
	down := flag.Bool("down", false, "end the demo that was left up")
	flag.Parse()
	switch kept := os.Getenv(keptVariable) != ""; {
	case *down:
		exit(end())
	case *keep && !kept:
		exit(startKept(*kubelets))
	default:
		needs, story := cluster.Needs{Forward: kept}, shortTale()
		if *kubelets {
			needs.Full, needs.Programs = true, []cluster.Program{cluster.Traefik}
			story = tutorialTale()
		}
		os.Exit(cluster.Main(needs, func(env cluster.Env) int {
			if err := story.on(context.Background(), env, kept); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// note holds the pid of the process that keeps a demo up; there is one at a time.
func note() string { return filepath.Join(os.TempDir(), "baremetal-demo.pid") }

// told appears when the story has been told.
func told() string { return filepath.Join(os.TempDir(), "baremetal-demo.told") }

// startKept runs the demo in a process of its own session, which lives on after
// this one, and waits until it has told the story.
func startKept(kubelets bool) error {
	if pid, err := running(); err == nil {
		return fmt.Errorf("a demo is up already (process %d); end it with `make demo-down`", pid)
	}
	_ = os.Remove(told()) // of an earlier one, if at all
	self, err := stay()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-keep", fmt.Sprint("-full=", kubelets))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), keptVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the demo: %w", err)
	}
	if err := os.WriteFile(note(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-ended:
			forget()
			return fmt.Errorf("the demo has ended: %w", err)
		case s := <-interrupts:
			_ = cmd.Process.Signal(s)
		case <-poll.C:
			if _, err := os.Stat(told()); err == nil {
				return nil
			}
		}
	}
}

// forget removes the files of a demo that has ended; they are harmless.
func forget() {
	for _, path := range []string{note(), told(), copied()} {
		_ = os.Remove(path)
	}
}

// copied is where the program is that keeps a demo up.
func copied() string { return filepath.Join(os.TempDir(), "baremetal-demo") }

// stay copies this program to where it outlives `go run`.
func stay() (string, error) {
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	_ = os.Remove(copied()) // of an earlier one, if at all
	return copied(), os.WriteFile(copied(), text, 0o755)
}

// end ends the demo that was left up and waits until it is gone.
func end() error {
	pid, err := running()
	if err != nil {
		return fmt.Errorf("no demo is up")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := running(); err != nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	forget()
	fmt.Println("The cluster is gone.")
	return nil
}

// running returns the process that keeps a demo up. Its name is looked at,
// since its number may be somebody else's by now.
func running() (int, error) {
	text, err := os.ReadFile(note())
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, err
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return 0, err
	}
	if !strings.Contains(string(command), "baremetal-demo") {
		return 0, fmt.Errorf("process %d is something else", pid)
	}
	return pid, nil
}
