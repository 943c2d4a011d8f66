package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// After any change of the pools, every Service keeps its address, and traffic to it
// goes on.
func TestPoolChangesKeepAddressesAndTraffic(t *testing.T) {
	f := setUp(t)
	// Without a cooldown the Services get the first two addresses, whatever other tests had.
	const pool = "address-pools:\n- {name: default, protocol: layer2, addresses: [192.168.120.200-192.168.120.209], reuse-delay: 0s}\n"
	f.pools(pool)
	f.create(service("one"))
	f.create(service("two", annotated("lb.baremetal/pool", "default")))
	one, two := f.assigned("one"), f.assigned("two")
	f.fetched(one)
	probe, err := f.cluster.StartProbe(one)
	f.must(err)
	defer probe.Stop()
	split := func(first, second string) string {
		return "address-pools:\n- {name: default, protocol: layer2, addresses: [" + first + "]}\n- {name: b, protocol: layer2, addresses: [" + second + "]}\n"
	}
	const rest = "192.168.120.202-192.168.120.209"
	for _, change := range []struct{ name, text, orphan string }{
		{"grown", strings.Replace(pool, "209", "219", 1), ""},
		{"shrunk", strings.Replace(pool, "200-", "205-", 1), one + " is in no pool"},
		{"back", pool, ""},
		{"split", split(one+"/32", two+"/32, "+rest), ""},
		{"two addresses swapped", split(two+"/32", one+"/32, "+rest), ""},
		{"renamed", strings.Replace(pool, "name: default", "name: other", 1), ""},
		{"for another namespace only", strings.Replace(pool, "name: default,", "name: default, namespaces: [nobody],", 1), one + ` is in pool "default", which is for other namespaces or Services`},
		{"deleted", "address-pools: []\n", one + " is in no pool"},
		{"bad", "address-pools: [", ""},
		{"moved elsewhere", "address-pools:\n- {name: default, protocol: layer2, addresses: [10.49.0.0/24]}\n", one + " is in no pool"},
	} {
		f.Run(change.name, func(f *fixture) {
			f.must(f.cluster.SetPools(f.Context(), change.text+"# "+change.name+"\n"))
			if change.orphan != "" {
				f.event("Service", "one", "AddressOutsidePools", change.orphan)
			}
			f.configRead()
			if a, b := addressesOf(f.get("one")), addressesOf(f.get("two")); a != one || b != two {
				f.Errorf("one had %s and now has %s; two had %s and now has %s", one, a, two, b)
			}
			f.fetched(one)
		})
	}
	f.Run("the metric counts the orphans", func(f *fixture) {
		text, err := f.cluster.GetCCM(f.Context(), f.cluster.Leader(), "/metrics")
		f.must(err)
		if !strings.Contains(text, "baremetal_ipam_orphaned_addresses 2") {
			f.Errorf("the metrics are\n%s", grep(text, "orphaned"))
		}
	})
	attempts := probe.Attempts(time.Time{})
	failed := slices.DeleteFunc(slices.Clone(attempts), func(a cluster.Attempt) bool { return a.OK })
	if len(failed) > 0 || len(attempts) == 0 {
		f.Errorf("%d of %d requests failed", len(failed), len(attempts))
	}
	f.Run("only reassign moves Services", func(f *fixture) {
		net := freshNet()
		f.must(f.cluster.SetPools(f.Context(), "reassign: true\naddress-pools:\n- {name: default, protocol: layer2, addresses: ["+net+".1-"+net+".9]}\n"))
		f.has("one", net+".1")
		f.has("two", net+".2")
		f.event("Service", "one", "AddressAssigned", "instead of "+one)
	})
}

func TestConfigMapCanBeDeletedAndCreatedAgain(t *testing.T) {
	f := setUp(t)
	f.create(service("runs"))
	vip := f.assigned("runs")
	f.fetched(vip)
	f.must(f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Delete(f.Context(), "config", metav1.DeleteOptions{}))
	f.event("ConfigMap", "config", "ConfigMissing", "deleted")
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools))
	f.configRead()
	f.stillRuns("runs", vip)
	f.create(service("new"))
	f.assigned("new")
}

func TestGrownPoolServesWaitingServices(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	small := "address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1/32]}\n"
	f.pools(small)
	f.create(service("lucky"))
	f.has("lucky", net+".1")
	const n = 20
	for i := range n {
		f.create(service(fmt.Sprint("waits-", i)))
		f.event("Service", fmt.Sprint("waits-", i), "AllocationFailed", "exhausted")
	}
	f.must(f.cluster.SetPools(f.Context(), strings.Replace(small, ".1/32", ".1-"+net+".100", 1)))
	start := time.Now()
	for i := range n {
		f.assigned(fmt.Sprint("waits-", i))
	}
	// The time is only logged. A slow machine must not fail the test.
	f.Logf("%d Services served after %v", n, time.Since(start).Round(time.Millisecond))
}

func TestCheckConfigPrintsTheEffectsOnTheCluster(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools("address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1-" + net + ".2]}\n")
	for i, name := range []string{"stays", "loses"} {
		f.create(service(name))
		f.has(name, fmt.Sprint(net, ".", i+1))
	}
	f.create(service("waits"))
	f.event("Service", "waits", "AllocationFailed", "exhausted")
	file := filepath.Join(f.TempDir(), "config.yaml")
	check := func(text string, want int) string {
		f.Helper()
		f.must(os.WriteFile(file, []byte(text), 0o600))
		cmd := exec.Command(f.cluster.Binary("kubectl-baremetal"), "check-config", "--cluster", "--kubeconfig="+f.cluster.Kubeconfig(), file)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want {
			f.Errorf("exit status %d:\n%s", cmd.ProcessState.ExitCode(), out)
		}
		return string(out)
	}
	out := check("address-pools:\n- {name: q, protocol: layer2, addresses: ["+net+".1/32, "+net+".9/32]}\n", 0)
	for _, line := range []string{
		"default/loses would keep an address that no pool gives it: " + net + ".2 is in no pool\n",
		"default/waits waits, and would get " + net + ".9\n",
		`pool "q", IPv4: 2 of 2 in use`,
	} {
		if !strings.Contains(out, line) {
			f.Errorf("%q is missing in the output:\n%s", line, out)
		}
	}
	if strings.Contains(out, "default/stays") {
		f.Errorf("the output names a Service that does not change:\n%s", out)
	}
	if out := check("address-pools: {}\n", 1); !strings.Contains(out, ":1:16: address-pools: must be a list") {
		f.Errorf("the output does not name the error and its line:\n%s", out)
	}
}
