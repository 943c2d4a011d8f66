package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// roleEnv returns the environment variables that give a copy of this program a role; see
// play.
func roleEnv(role string, args ...string) []string {
	return []string{roleVariable + "=" + role, "BAREMETAL_TEST_ARGS=" + strings.Join(args, "|")}
}

// self returns the path of this program. /proc/self/exe cannot be used, because nsenter,
// which starts the copy, would read it as its own path.
func self() string {
	path, err := os.Executable()
	if err != nil {
		panic("cluster: " + err.Error()) // /proc is not mounted
	}
	return path
}

// play runs a copy of this program in a role, and returns its exit code: a web server, a
// client, a flood, or a process that uses a CPU.
func play(role string) int {
	args := strings.Split(os.Getenv("BAREMETAL_TEST_ARGS"), "|")
	var err error
	switch role {
	case "web":
		err = web(args[0], args[1], args[2], args[3])
	case "pod":
		err = webOfPod()
	case "probe":
		err = probe(args[0], args[1])
	case "flood":
		err = flood(args[0], args[1])
	case "burn":
		for n := 1; n != 0; n += 2 { // an odd number is never zero
		}
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// Burn keeps n CPUs busy until stop is called, with processes that only count.
func Burn(n int) (stop func(), err error) {
	var burning []*exec.Cmd
	stop = func() {
		for _, cmd := range burning {
			_ = cmd.Process.Kill() // fails only if the process has ended
			_ = cmd.Wait()
		}
	}
	for range n {
		cmd := exec.Command(self())
		cmd.Env = append(os.Environ(), roleEnv("burn")...)
		if err := cmd.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("keeping a CPU busy: %w", err)
		}
		burning = append(burning, cmd)
	}
	return stop, nil
}

// Attempt is one attempt of a Probe to get a page.
type Attempt struct {
	// Start is the time at which the client began to connect.
	Start time.Time
	Took  time.Duration
	OK    bool
}

const (
	probeEvery   = 10 * time.Millisecond
	probeTimeout = 400 * time.Millisecond
)

// probe requests a page every so often on a new connection. It does not wait for earlier
// requests. It writes each Attempt as a line of JSON when the attempt has ended.
func probe(url, interval string) error {
	every, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	attempts := make(chan Attempt, 1000)
	go func() {
		for range time.Tick(every) {
			go func() { attempts <- attempt(url) }()
		}
	}()
	lines := json.NewEncoder(os.Stdout)
	for a := range attempts {
		if err := lines.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func attempt(url string) Attempt {
	a := Attempt{Start: time.Now()}
	client := &http.Client{Timeout: probeTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		a.OK = err == nil && response.StatusCode == http.StatusOK
	}
	a.Took = time.Since(a.Start)
	return a
}
