// Command demo shows on a terminal what this project does: a Service gets an address, a
// client gets a page from there, the owner of the address dies, and another node takes
// over.
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
	keep := flag.Bool("keep", false, "keep the cluster up at the end")
	kubelets := flag.Bool("full", false, "run the tutorial instead, on nodes with kubelets")
	down := flag.Bool("down", false, "stop the cluster that was kept up")
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

// note is the file with the process ID of the demo that keeps its cluster up. There can
// be only one such demo.
func note() string { return filepath.Join(os.TempDir(), "baremetal-demo.pid") }

// told is the file that the demo writes when it has shown everything.
func told() string { return filepath.Join(os.TempDir(), "baremetal-demo.told") }

// startKept runs the demo in a process with a session of its own, which survives this
// process. It waits until the demo has shown everything.
func startKept(kubelets bool) error {
	if pid, err := running(); err == nil {
		return fmt.Errorf("the cluster of another demo is still up (process %d); stop it with `make demo-down`", pid)
	}
	_ = os.Remove(told()) // an earlier demo may have left it
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
			return fmt.Errorf("the demo has ended too early: %w", err)
		case s := <-interrupts:
			_ = cmd.Process.Signal(s)
		case <-poll.C:
			if _, err := os.Stat(told()); err == nil {
				return nil
			}
		}
	}
}

// forget removes the files of a demo that has ended.
func forget() {
	for _, path := range []string{note(), told(), copied()} {
		_ = os.Remove(path) // a file that stays is harmless
	}
}

// copied is the path of the program that keeps the cluster up; see stay.
func copied() string { return filepath.Join(os.TempDir(), "baremetal-demo") }

// stay copies this program to a place where it survives. `go run` removes the original
// when it ends.
func stay() (string, error) {
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	_ = os.Remove(copied()) // an earlier demo may have left it
	return copied(), os.WriteFile(copied(), text, 0o755)
}

// end stops the cluster that was kept up, and waits until it is gone.
func end() error {
	pid, err := running()
	if err != nil {
		return errors.New("there is no cluster of a demo to stop")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the demo, process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := running(); err != nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("stopping the demo: process %d still runs after 20 s; kill it", pid)
		}
	}
	forget()
	fmt.Println("The cluster and its namespaces were removed.")
	return nil
}

// running returns the process ID of the demo that keeps its cluster up. It checks the name
// of the process, because another program may have got the same ID in the meantime.
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
		return 0, fmt.Errorf("process %d is another program", pid)
	}
	return pid, nil
}
