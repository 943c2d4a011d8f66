package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/browser"
)

// A person who watches the page of "kubectl baremetal ui" while a node dies sees that its address
// moves to another node, and reads why.
func TestUIShowsThatANodeDies(t *testing.T) {
	f := setUp(t)
	f.install()
	vip := f.nginx()
	f.serves(vip)
	page := browser.Open(t, f.ui())
	chip := func(node string) string {
		return fmt.Sprintf(`document.querySelectorAll('[aria-labelledby="node-%s"] .chip[data-address="%s"]').length`, node, vip)
	}
	page.Await("the address is on a node", fmt.Sprintf(`document.querySelectorAll('#nodes .chip[data-address="%s"]').length === 1`, vip))
	page.Await("all nodes are up", fmt.Sprintf(`document.querySelectorAll('.node[data-state="up"]').length === %d`, len(f.cluster.Nodes())))
	page.Keep("before")
	owner := ""
	for _, n := range f.cluster.Nodes() {
		if page.Text(chip(n.Name)) == "1" {
			owner = n.Name
		}
	}

	f.must(f.cluster.Node(owner).Kill())
	f.Cleanup(func() {
		f.must(f.cluster.Node(owner).Revive())
		f.kubectl("wait", "node/"+owner, "--for=condition=Ready", "--timeout=60s")
	})
	page.Await("the node is dead", fmt.Sprintf(`document.querySelector('[aria-labelledby="node-%s"]').dataset.state === "dead"`, owner))
	page.Await("the address has left the node", chip(owner)+" === 0")
	page.Await("the address is on another node", fmt.Sprintf(`document.querySelectorAll('.node[data-state="up"] .chip[data-address="%s"]').length === 1`, vip))
	page.Await("the page says what has moved", fmt.Sprintf(`document.getElementById("moves").textContent.includes("%s moved from %s to ")`, vip, owner))
	page.Await("the page says what is wrong", fmt.Sprintf(`document.getElementById("problems").textContent.includes("%s")`, owner))
	if problems := page.Text(`document.getElementById("problems").textContent`); strings.Contains(problems, "at the same time") {
		t.Errorf("the page believes that the dead node still announces the address: %s", problems)
	}
	page.Keep("after")
	page.Run(chromedp.Click(chromedp.CSS(fmt.Sprintf(`#nodes [data-address="%s"]`, vip))))
	page.Await("a click explains the address", `document.getElementById("explain-text").textContent.includes("Service default/nginx")`)
	page.Keep("explain")
}

// ui runs "kubectl baremetal ui" until the end of the test. It returns the address that the
// command prints.
func (f *fixture) ui() string {
	f.Helper()
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, filepath.Join(f.env.Root, "bin", "kubectl-baremetal"), "ui", "--kubeconfig="+f.cluster.Kubeconfig())
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	f.must(err)
	f.must(command.Start())
	f.Cleanup(func() {
		stop()
		if err := command.Wait(); command.ProcessState.ExitCode() != 0 {
			f.Errorf("kubectl baremetal ui: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url := strings.TrimSpace(lines.Text()); strings.HasPrefix(url, "http://") {
			return url
		}
	}
	f.Fatal("kubectl baremetal ui has printed no address")
	return ""
}
