package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// Whatever is wrong with the configuration, it is said with its line, and a
// running Service goes on.
func TestABadConfigurationIsRefusedAndLosesNothing(t *testing.T) {
	create(t, service("runs"))
	vip := assigned(t, "runs")
	fetched(t, vip)
	tests := []struct{ name, text, want string }{
		{"unknown key", "address-pools:\n- name: default\n  protocol: layer2\n  adresses: [192.168.120.200-192.168.120.250]\n", "line 4: pool \"default\": adresses"},
		{"overlapping pools", "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.120.200-192.168.120.250]\n- name: b\n  protocol: layer2\n  addresses: [192.168.120.250-192.168.120.251]\n", "line 7: pool \"b\": addresses"},
		{"reversed range", "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.120.250-192.168.120.200]\n", "line 4: pool \"default\": addresses"},
		{"no YAML", "address-pools: [", "line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pools(t, tt.text)
			event(t, "ConfigMap", "config", "ConfigRefused", tt.want)
			for _, n := range the.Nodes() {
				eventually(t, n.Name+" says so", func() bool {
					text, err := n.Get(context.Background(), "/metrics")
					return err == nil && strings.Contains(text, "baremetal_config_last_load_successful 0")
				})
			}
			runsStill(t, "runs", vip)
			create(t, service("new")) // the last good configuration still serves
			assigned(t, "new")
		})
	}
}

func TestADeletedConfigMapLosesNothing(t *testing.T) {
	create(t, service("runs"))
	vip := assigned(t, "runs")
	fetched(t, vip)
	must(t, the.Client.CoreV1().ConfigMaps("baremetal-system").Delete(t.Context(), "config", metav1.DeleteOptions{}))
	t.Cleanup(func() { must(t, the.SetPools(context.Background(), cluster.DefaultPools)) })
	event(t, "ConfigMap", "config", "ConfigMissing", "the ConfigMap was deleted. The last good configuration stays in use.")
	runsStill(t, "runs", vip)

	// A restart finds no configuration at all: what runs goes on, what is new
	// waits and says why.
	restartCCMs(t)
	node := announcer(t, vip)
	node.Speaker().Stop()
	must(t, node.StartSpeaker(context.Background()))
	must(t, node.WaitReady(t.Context()))
	settled(t)
	create(t, service("waits"))
	event(t, "Service", "waits", "AllocationFailed", "(ConfigMap baremetal-system/config: the ConfigMap does not exist)")
	runsStill(t, "runs", vip)
	must(t, the.SetPools(t.Context(), cluster.DefaultPools))
	assigned(t, "waits")
	runsStill(t, "runs", vip)
}

func runsStill(t *testing.T, name, vip string) {
	t.Helper()
	if got := addressesOf(get(t, name)); got != vip {
		t.Errorf("the address of %s is %q now, and was %s", name, got, vip)
	}
	fetched(t, vip)
}

func TestASpeakerWithoutTheCapabilitySaysWhatItNeeds(t *testing.T) {
	node := the.Node("worker")
	p, err := node.StartSpeakerWith(t.Context(), "-net_raw", "--kubeconfig="+the.Kubeconfig())
	must(t, err)
	ends(t, p, "NET_RAW")
}

func TestAWrongKubeconfigIsSaidSo(t *testing.T) {
	node := the.Node("worker")
	t.Run("missing file", func(t *testing.T) {
		p, err := node.StartSpeakerWith(t.Context(), "+net_raw", "--kubeconfig=/nowhere/config")
		must(t, err)
		ends(t, p, "reading --kubeconfig /nowhere/config")
		ccm, err := the.StartCCM(t.Context(), "--kubeconfig=/nowhere/config")
		must(t, err)
		ends(t, ccm, "/nowhere/config")
	})
	t.Run("wrong token", func(t *testing.T) {
		const says = "Unauthorized"
		text, err := os.ReadFile(the.Kubeconfig())
		must(t, err)
		path := filepath.Join(t.TempDir(), "config")
		must(t, os.WriteFile(path, []byte(strings.Replace(string(text), "token: ", "token: not-", 1)), 0o600))
		p, err := node.StartSpeakerWith(t.Context(), "+net_raw", "--kubeconfig="+path)
		must(t, err)
		defer p.Stop()
		eventually(t, "the speaker says what it waits for", func() bool {
			return strings.Contains(p.Log(), "waiting for the API server") && strings.Contains(p.Log(), says)
		})
		ccm, err := the.StartCCM(t.Context(), "--kubeconfig="+path)
		must(t, err)
		defer ccm.Stop()
		eventually(t, "the CCM says what is wrong", func() bool { return strings.Contains(ccm.Log(), says) })
	})
}

// ends waits until a program has ended with an error, and text in its log.
func ends(t *testing.T, p *cluster.Process, text string) {
	t.Helper()
	p.MayEnd()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		p.Kill()
		t.Fatalf("%s goes on:\n%s", p.Name, p.Log())
	}
	if p.ExitCode() == 0 || !strings.Contains(p.Log(), text) {
		t.Errorf("%s ended with %d and said:\n%s", p.Name, p.ExitCode(), p.Log())
	}
}
