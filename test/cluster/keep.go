package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// keepVariable is set in the environment of tests whose cluster should stay up.
const keepVariable = "KEEP"

// Keep reports whether KEEP is set in the environment: the cluster should stay up when
// the tests have run. Needs.Forward must be set then.
func Keep() bool { return os.Getenv(keepVariable) != "" }

// RunTests runs the tests of a package, which are m, and returns the exit code for
// TestMain. The code is 1 if a program of the cluster has crashed.
//
// If KEEP is set, the cluster stays up when the tests have passed or failed. RunTests
// then prints how to enter the cluster and where its logs are, and waits for SIGINT or
// SIGTERM. With `go test`, use -v and one package, because go shows the text only at the
// end otherwise, and -timeout 0, because go kills the tests after that time.
func (c *Cluster) RunTests(m interface{ Run() int }) int {
	code := m.Run()
	if err := c.Crashed(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if !Keep() {
		return code
	}
	if err := c.keepUp(code); err != nil {
		fmt.Fprintln(os.Stderr, "keeping the cluster up:", err)
		return 1
	}
	return code
}

// keepUp prints how to enter the cluster and where its logs are, and waits for a signal.
func (c *Cluster) keepUp(code int) error {
	enter, err := c.HowToEnter("ADDRESS")
	if err != nil {
		return err
	}
	logs, err := c.LogFiles()
	if err != nil {
		return err
	}
	pid, err := c.env.PID()
	if err != nil {
		return err
	}
	result := "passed"
	if code != 0 {
		result = "failed"
	}
	fmt.Printf("\nThe tests have %s. The cluster stays up.\n%s\n  # the log of each program:\n", result, enter)
	for _, log := range logs {
		fmt.Println(" ", log)
	}
	fmt.Printf("\n  # stop the cluster: press Ctrl-C, or\n  kill %s\n\n", pid)
	return c.StayUp()
}

// HowToEnter makes the API server reachable from outside of the namespaces, and returns
// commands that a user can run there: kubectl, a client that gets a page from vip, faults
// of a node, and a speaker's plan. Needs.Forward must be set.
func (c *Cluster) HowToEnter(vip string) (string, error) {
	if c.env.Forward == "" {
		return "", errors.New("Needs.Forward is not set, so the API server cannot be reached")
	}
	kubeconfig, err := c.expose()
	if err != nil {
		return "", err
	}
	pid, err := c.env.PID()
	if err != nil {
		return "", fmt.Errorf("looking for the process in the namespaces: %w", err)
	}
	return strings.NewReplacer("KUBECONFIG_FILE", kubeconfig, "KUBECTL", c.env.Binaries["kubectl"], "PID", pid, "VIP", vip, "LOGS", c.path("logs"), "NETNS", filepath.Join("/proc", pid, "root", "run", "netns")).Replace(`
  # use kubectl:
  export KUBECONFIG=KUBECONFIG_FILE
  alias kubectl=KUBECTL
  kubectl get services -A

  # be the client on the network segment (curl, ping, ip neigh, …):
  nsenter --net=NETNS/client curl -s http://VIP

  # cut the power of a node, and restore it:
  nsenter --net=/proc/PID/ns/net ip link set node1 down
  nsenter --net=/proc/PID/ns/net ip link set node1 up

  # show which node should announce which address, as the speaker of node1 sees it:
  nsenter --net=NETNS/node1 curl -s http://127.0.0.1:7473/debug/plan

  # list the logs of all programs:
  ls LOGS
`), nil
}

// LogFiles returns the path of the log of each program that was started, in the order of
// the names. Programs with the same name write to the same file, one after the other.
func (c *Cluster) LogFiles() ([]string, error) {
	logs, err := filepath.Glob(filepath.Join(c.path("logs"), "*.log"))
	if err != nil {
		return nil, fmt.Errorf("looking for logs: %w", err)
	}
	slices.Sort(logs)
	return logs, nil
}

// signalsCaught is the file that exists while the program in the namespaces handles signals
// itself; see isolate.
func (e Env) signalsCaught() string { return filepath.Join(e.Dir, "signals-caught") }

// CatchSignals makes Main forward SIGINT and SIGTERM to the program in the namespaces,
// instead of killing it. The program should then end within 15 s.
func (e Env) CatchSignals() (<-chan os.Signal, error) {
	signals := make(chan os.Signal, 1)
	// The signals stay caught: after Ctrl-C this program gets SIGINT from the terminal and
	// from isolate, and the second SIGINT must not interrupt the clean-up.
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := os.WriteFile(e.signalsCaught(), nil, 0o644); err != nil {
		return nil, fmt.Errorf("noting that the program handles signals: %w", err)
	}
	return signals, nil
}

// StayUp waits until the program gets SIGINT or SIGTERM. The caller should then close the
// cluster and end the program.
func (c *Cluster) StayUp() error {
	signals, err := c.env.CatchSignals()
	if err != nil {
		return err
	}
	<-signals
	return nil
}
