package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// on runs ip on a node.
func (f *fixture) on(n *cluster.Node, args ...string) {
	f.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", n.Name}, args...)...).CombinedOutput(); err != nil {
		f.Fatalf("ip %v on %s: %v: %s", args, n.Name, err, out)
	}
}

// traceSays waits until trace ends with a status, and says all of the texts.
func (f *fixture) traceSays(vip string, status int, texts ...string) (out string) {
	f.Helper()
	got := 0
	defer func() {
		if f.Failed() {
			f.Logf("the last output of trace, with exit status %d:\n%s", got, out)
		}
	}()
	f.eventually("trace to say "+strings.Join(texts, ", "), func() bool {
		out, got = f.plugin("trace", vip)
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return false
			}
		}
		return got == status
	})
	return out
}

// The commands that look into an address reach the speakers by port-forward.
func TestPluginLooksIntoAnAddress(t *testing.T) {
	f := setUp(t)
	f.install()
	vip := f.nginx()
	f.serves(vip)

	out := f.traceSays(vip, 0, "No problems found.")
	f.Log(out)
	owner := regexp.MustCompile(`by: (node\d)\n`).FindStringSubmatch(out)
	if owner == nil || strings.Count(out, owner[1]+" (02:") != 3 || strings.Count(out, "open") != 4 {
		f.Fatalf("all other nodes should hear one owner, and all 4 should connect:\n%s", out)
	}
	other := f.cluster.Node("node1")
	if owner[1] == "node1" {
		other = f.cluster.Node("node2")
	}
	// This is what kube-proxy with ipvs and without strictARP does.
	f.on(other, "address", "add", vip+"/32", "dev", "lo")
	f.Log(f.traceSays(vip, 1, "ERROR SecondAnswerer: node "+other.Name+": ", "its interface lo has the address"))
	f.on(other, "address", "del", vip+"/32", "dev", "lo")
	f.on(other, "neigh", "replace", vip, "lladdr", "02:00:00:00:0f:ff", "dev", "eth0", "nud", "permanent")
	f.traceSays(vip, 1, "WARNING StaleNeighbor: node "+other.Name+": ", "(not a node of this cluster)", "ip neigh del "+vip)
	f.on(other, "neigh", "del", vip, "dev", "eth0")
	f.traceSays(vip, 0)
	if out, status := f.plugin("trace", "192.168.120.1"); status != 2 || !strings.Contains(out, "in no pool") {
		f.Errorf("an address of no pool: status %d, %s", status, out)
	}

	f.capturesQuestions(vip)
	f.bundlesWithoutTheKey()
}

// capturesQuestions captures for longer than a speaker waits for other requests, while a client asks.
func (f *fixture) capturesQuestions(vip string) {
	f.Helper()
	asker, err := f.cluster.Ask(vip, 100*time.Millisecond)
	f.must(err)
	defer asker.Stop()
	file := filepath.Join(f.TempDir(), "a.pcapng")
	out, status := f.plugin("capture", vip, "--for=12s", "-w", file)
	frames := regexp.MustCompile(`: (\d+) frames of 4 nodes`).FindStringSubmatch(out)
	if status != 0 || frames == nil || len(frames[1]) < 3 || strings.Contains(out, "ended early") {
		f.Errorf("capture: status %d, %s", status, out)
	}
	text, err := os.ReadFile(file)
	f.must(err)
	if !bytes.HasPrefix(text, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || !bytes.Contains(text, []byte("node4:eth0")) {
		f.Errorf("the file begins with %x", text[:min(len(text), 16)])
	}
	f.Log(out)
}

// bundlesWithoutTheKey makes a support bundle, and looks for the key of the speakers in it.
func (f *fixture) bundlesWithoutTheKey() {
	f.Helper()
	key, err := base64.StdEncoding.DecodeString(f.kubectl("-n", "baremetal-system", "get", "secret", "memberlist", "-o", "jsonpath={.data.secretkey}"))
	f.must(err)
	file := filepath.Join(f.TempDir(), "bundle.tar.gz")
	if out, status := f.plugin("support-bundle", "-w", file); status != 0 {
		f.Fatalf("support-bundle: status %d, %s", status, out)
	}
	archive, err := os.Open(file)
	f.must(err)
	defer archive.Close()
	uncompressed, err := gzip.NewReader(archive)
	f.must(err)
	files := map[string]string{}
	for r := tar.NewReader(uncompressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		f.must(err)
		text, err := io.ReadAll(r)
		f.must(err)
		files[strings.TrimPrefix(header.Name, "baremetal-support/")] = string(text)
	}
	for name, text := range files {
		if strings.Contains(text, string(key)) || strings.Contains(text, base64.StdEncoding.EncodeToString(key)) {
			f.Errorf("%s has the key of the speakers", name)
		}
	}
	for name, want := range map[string]string{
		"speakers/node1/plan.json": `"kind": "Plan"`, "speakers/node4/metrics.txt": "baremetal_layer2_", "speakers/node2/speaker.log": "level=INFO",
		"objects/services.yaml": "name: nginx", "config/operator/config.yaml": "address-pools",
	} {
		if !strings.Contains(files[name], want) {
			f.Errorf("%s does not have %q", name, want)
		}
	}
	if _, missing, _ := strings.Cut(files["index.txt"], "\nMISSING\n"); missing != "nothing\n" {
		f.Errorf("missing in the bundle:\n%s", missing)
	}
	f.Log(files["index.txt"])
}
