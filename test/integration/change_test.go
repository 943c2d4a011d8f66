package integration

import (
	"context"
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

// Whatever happens to the pools, who has an address keeps it, and its traffic.
func TestChangesOfThePoolsHarmNobody(t *testing.T) {
	const pool = "address-pools:\n- {name: default, protocol: layer2, addresses: [192.168.120.200-192.168.120.209]}\n"
	pools(t, pool)
	create(t, service("one"))
	create(t, service("two", annotated("lb.baremetal/pool", "default")))
	one, two := assigned(t, "one"), assigned(t, "two")
	fetched(t, one)
	probe, err := the.StartProbe(one)
	must(t, err)
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
		{"for others only", strings.Replace(pool, "name: default,", "name: default, namespaces: [nobody],", 1), one + ` is in pool "default", which is for other namespaces or Services`},
		{"deleted", "address-pools: []\n", one + " is in no pool"},
		{"bad", "address-pools: [", ""},
		{"moved elsewhere", "address-pools:\n- {name: default, protocol: layer2, addresses: [10.49.0.0/24]}\n", one + " is in no pool"},
	} {
		t.Run(change.name, func(t *testing.T) {
			must(t, the.SetPools(t.Context(), change.text+"# "+change.name+"\n"))
			if change.orphan != "" {
				event(t, "Service", "one", "AddressOutsidePools", change.orphan)
			}
			taken(t)
			if a, b := addressesOf(get(t, "one")), addressesOf(get(t, "two")); a != one || b != two {
				t.Errorf("one has %s and had %s, two has %s and had %s", a, one, b, two)
			}
			fetched(t, one)
		})
	}
	t.Run("the metric counts the orphans", func(t *testing.T) {
		text, err := the.GetCCM(t.Context(), the.Leader(), "/metrics")
		must(t, err)
		if !strings.Contains(text, "baremetal_ipam_orphaned_addresses 2") {
			t.Errorf("it says\n%s", grep(text, "orphaned"))
		}
	})
	attempts := probe.Attempts(time.Time{})
	failed := slices.DeleteFunc(slices.Clone(attempts), func(a cluster.Attempt) bool { return a.OK })
	if len(failed) > 0 || len(attempts) == 0 {
		t.Errorf("%d of %d requests failed", len(failed), len(attempts))
	}
	t.Run("only reassign moves", func(t *testing.T) {
		net := freshNet()
		must(t, the.SetPools(t.Context(), "reassign: true\naddress-pools:\n- {name: default, protocol: layer2, addresses: ["+net+".1-"+net+".9]}\n"))
		has(t, "one", net+".1")
		has(t, "two", net+".2")
		event(t, "Service", "one", "AddressAssigned", "instead of "+one)
	})
}

// taken waits until the configuration that was written last has been read: its
// generation is in use, or it was refused.
func taken(t *testing.T) {
	t.Helper()
	eventually(t, "the configuration is taken", func() bool {
		cm, err := the.Client.CoreV1().ConfigMaps("baremetal-system").Get(context.Background(), "config", metav1.GetOptions{})
		must(t, err)
		text, err := the.GetCCM(context.Background(), the.Leader(), "/metrics")
		if err != nil {
			return false
		}
		for line := range strings.Lines(text) {
			var generation float64
			if n, _ := fmt.Sscanf(line, "baremetal_config_generation %g", &generation); n == 1 && fmt.Sprintf("%.0f", generation) == cm.ResourceVersion {
				return true
			}
		}
		return strings.Contains(text, "baremetal_config_last_load_successful 0")
	})
}

func TestAConfigMapThatIsDeletedAndMadeAgainHarmsNobody(t *testing.T) {
	create(t, service("runs"))
	vip := assigned(t, "runs")
	fetched(t, vip)
	must(t, the.Client.CoreV1().ConfigMaps("baremetal-system").Delete(t.Context(), "config", metav1.DeleteOptions{}))
	event(t, "ConfigMap", "config", "ConfigMissing", "deleted")
	must(t, the.SetPools(t.Context(), cluster.DefaultPools))
	taken(t)
	runsStill(t, "runs", vip)
	create(t, service("new"))
	assigned(t, "new")
}

func TestWhoWaitsIsServedWithinASecondOfAnyChangeThatHelps(t *testing.T) {
	net := freshNet()
	small := "address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1/32]}\n"
	pools(t, small)
	create(t, service("lucky"))
	has(t, "lucky", net+".1")
	const n = 20
	for i := range n {
		create(t, service(fmt.Sprint("waits-", i)))
		event(t, "Service", fmt.Sprint("waits-", i), "AllocationFailed", "exhausted")
	}
	must(t, the.SetPools(t.Context(), strings.Replace(small, ".1/32", ".1-"+net+".100", 1)))
	start := time.Now()
	for i := range n {
		assigned(t, fmt.Sprint("waits-", i))
	}
	t.Logf("%d Services served after %v", n, time.Since(start).Round(time.Millisecond)) // no assertion: a slow machine is no defect
}

func TestCheckConfigSaysWhatAFileWouldDoToTheCluster(t *testing.T) {
	net := freshNet()
	pools(t, "address-pools:\n- {name: p, protocol: layer2, addresses: ["+net+".1-"+net+".2]}\n")
	for i, name := range []string{"stays", "loses"} {
		create(t, service(name))
		has(t, name, fmt.Sprint(net, ".", i+1))
	}
	create(t, service("waits"))
	event(t, "Service", "waits", "AllocationFailed", "exhausted")
	file := filepath.Join(t.TempDir(), "config.yaml")
	check := func(text string, want int) string {
		t.Helper()
		must(t, os.WriteFile(file, []byte(text), 0o600))
		cmd := exec.Command(the.Binary("baremetal-cloud-controller-manager"), "check-config", "--kubeconfig="+the.Kubeconfig(), file)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want {
			t.Errorf("exit status %d:\n%s", cmd.ProcessState.ExitCode(), out)
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
			t.Errorf("%q is missing in\n%s", line, out)
		}
	}
	if strings.Contains(out, "default/stays") {
		t.Errorf("something is said about a Service that nothing happens to:\n%s", out)
	}
	if out := check("address-pools: {}\n", 1); !strings.Contains(out, "line 1: address-pools: must be a list") {
		t.Errorf("it says\n%s", out)
	}
}
