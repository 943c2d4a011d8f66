package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// simulated is what simulate says about an address.
type simulated struct {
	Address       string
	Before, After struct{ Layer2 []string }
	Unserved      bool
}

// simulate returns what would change for the addresses.
func (f *fixture) simulate(args ...string) []simulated {
	f.Helper()
	out, status := f.plugin(append([]string{"simulate", "-o", "json"}, args...)...)
	var document struct{ Addresses []simulated }
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&document); err != nil { // the error for people can follow
		f.Fatalf("exit status %d, %v:\n%s", status, err, out)
	}
	return document.Addresses
}

// An address moves to the node that simulate has named, and "edit" shows what a configuration does
// before it writes it.
func TestSimulationSaysWhatTheSpeakersThenDo(t *testing.T) {
	f := setUp(t)
	f.install()
	vip := f.nginx()
	f.serves(vip)
	f.says(0, "No problems found.", "status")

	owner, next := "", ""
	for _, node := range f.cluster.Nodes() {
		for _, a := range f.simulate("--drain", node.Name) {
			if a.Address == vip && len(a.Before.Layer2) == 1 && a.Before.Layer2[0] == node.Name && len(a.After.Layer2) == 1 {
				owner, next = node.Name, a.After.Layer2[0]
			}
		}
	}
	if owner == "" || next == owner {
		t.Fatalf("no drain moves %s, but the drain of its owner would", vip)
	}
	out, _ := f.plugin("simulate", "--drain", owner)
	t.Log(out)
	f.says(0, "hosts of the segment send to node "+owner, "explain", "svc/nginx")
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	f.kubectl("label", "node", owner, label+"=")
	f.Cleanup(func() { f.kubectl("label", "node", owner, label+"-") })
	f.says(0, "hosts of the segment send to node "+next, "explain", "svc/nginx")

	// The cluster is the same with a pool that BGP would announce, but there is no router.
	file := filepath.Join(t.TempDir(), "config.yaml")
	f.must(os.WriteFile(file, []byte(strings.Replace(cluster.DefaultPools, "protocol: layer2", "protocol: bgp", 1)), 0o600))
	f.says(1, "would be served by nobody: "+vip, "simulate", "--config", file)
	f.must(os.WriteFile(file, []byte(cluster.DefaultPools+"# checked\n"), 0o600))
	f.says(0, "no address would be announced in another way than now", "edit", "-f", file, "--yes")
	if text := f.kubectl("-n", "baremetal-system", "get", "configmap", "config", "-o", "jsonpath={.data.config}"); !strings.Contains(text, "# checked") {
		t.Errorf("the configuration in the cluster is\n%s", text)
	}
	f.says(0, "No problems found.", "status")
	f.must(os.WriteFile(file, []byte(strings.Replace(cluster.DefaultPools, "protocol:", "protocoll:", 1)), 0o600))
	f.says(1, "protocoll: unknown key", "edit", "-f", file, "--yes")
}
