package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// An Event names the line of every error in the configuration. Services that have an
// address keep working.
func TestRefusedConfigKeepsServicesRunning(t *testing.T) {
	f := setUp(t)
	f.create(service("runs"))
	vip := f.assigned("runs")
	f.fetched(vip)
	tests := []struct{ name, text, want string }{
		{"unknown key", "address-pools:\n- name: default\n  protocol: layer2\n  adresses: [192.168.120.200-192.168.120.250]\n", "line 4: pool \"default\": adresses"},
		{"overlapping pools", "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.120.200-192.168.120.250]\n- name: b\n  protocol: layer2\n  addresses: [192.168.120.250-192.168.120.251]\n", "line 7: pool \"b\": addresses"},
		{"reversed range", "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.120.250-192.168.120.200]\n", "line 4: pool \"default\": addresses"},
		{"no YAML", "address-pools: [", "line 1"},
	}
	for _, tt := range tests {
		f.Run(tt.name, func(f *fixture) {
			f.pools(tt.text)
			f.event("ConfigMap", "config", "ConfigRefused", tt.want)
			for _, n := range f.cluster.Nodes() {
				f.eventually("the metric of "+n.Name+" says that the configuration was refused", func() bool {
					text, err := n.Get(context.Background(), "/metrics")
					return err == nil && strings.Contains(text, "baremetal_config_last_load_successful 0")
				})
			}
			f.stillRuns("runs", vip)
			f.create(service("new")) // gets an address by the last good configuration
			f.assigned("new")
		})
	}
}

func TestDeletedConfigMapKeepsServicesRunning(t *testing.T) {
	f := setUp(t)
	f.create(service("runs"))
	vip := f.assigned("runs")
	f.fetched(vip)
	f.must(f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Delete(f.Context(), "config", metav1.DeleteOptions{}))
	f.Cleanup(func() { f.must(f.cluster.SetPools(context.Background(), cluster.DefaultPools)) })
	f.event("ConfigMap", "config", "ConfigMissing", "the ConfigMap was deleted. The last good configuration stays in use.")
	f.stillRuns("runs", vip)

	// After a restart the programs go on with the configuration that the cluster manager has
	// published.
	f.restartCCMs()
	node := f.announcer(vip)
	node.Speaker().Stop()
	f.must(node.StartSpeaker(context.Background()))
	f.must(node.WaitReady(f.Context()))
	f.settled()
	f.create(service("late"))
	f.assigned("late")
	f.stillRuns("runs", vip)

	// Without that, too, they have no configuration at all. Services that have an address
	// keep it. New Services wait, and an Event says why.
	stop(f.cluster.CCMs())
	f.must(f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Delete(f.Context(), "config-in-use", metav1.DeleteOptions{}))
	f.restartCCMs()
	f.create(service("waits"))
	f.event("Service", "waits", "AllocationFailed", "(ConfigMap baremetal-system/config: the ConfigMap does not exist)")
	f.stillRuns("runs", vip)
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools))
	f.assigned("waits")
	f.stillRuns("runs", vip)
}

func TestSpeakerNamesTheMissingCapability(t *testing.T) {
	f := setUp(t)
	node := f.cluster.Node("worker")
	p, err := node.StartSpeakerWith(f.Context(), "-net_raw", "--kubeconfig="+f.cluster.Kubeconfig())
	f.must(err)
	f.endsWithError(p, "NET_RAW")
}

func TestKubeconfigErrorsAreReported(t *testing.T) {
	f := setUp(t)
	node := f.cluster.Node("worker")
	f.Run("missing file", func(f *fixture) {
		p, err := node.StartSpeakerWith(f.Context(), "+net_raw", "--kubeconfig=/nowhere/config")
		f.must(err)
		f.endsWithError(p, "reading --kubeconfig /nowhere/config")
		ccm, err := f.cluster.StartCCM(f.Context(), "--kubeconfig=/nowhere/config")
		f.must(err)
		f.endsWithError(ccm, "/nowhere/config")
	})
	f.Run("wrong token", func(f *fixture) {
		const says = "Unauthorized"
		text, err := os.ReadFile(f.cluster.Kubeconfig())
		f.must(err)
		path := filepath.Join(f.TempDir(), "config")
		f.must(os.WriteFile(path, []byte(strings.Replace(string(text), "token: ", "token: not-", 1)), 0o600))
		p, err := node.StartSpeakerWith(f.Context(), "+net_raw", "--kubeconfig="+path)
		f.must(err)
		defer p.Stop()
		f.eventually("the log of the speaker says what it waits for", func() bool {
			return strings.Contains(p.Log(), "waiting at start") && strings.Contains(p.Log(), says)
		})
		ccm, err := f.cluster.StartCCM(f.Context(), "--kubeconfig="+path)
		f.must(err)
		defer ccm.Stop()
		f.eventually("the log of the cluster manager says what is wrong", func() bool { return strings.Contains(ccm.Log(), says) })
	})
}
