package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// operator is the module that holds the definitions of the Prometheus operator's
// resources.
const operator = "github.com/prometheus-operator/prometheus-operator"

// manifests/monitoring can be applied where the Prometheus operator is, and what its
// ServiceMonitors find are all pods of both programs, which hand out their metrics.
func TestMonitoring(t *testing.T) {
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		definition := filepath.Join(env.Module(operator), "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml")
		kubectl(t, "apply", "--server-side", "-f", definition)
		t.Cleanup(func() { kubectl(t, "delete", "-f", definition, "--timeout=1m") })
		kubectl(t, "wait", "-f", definition, "--for=condition=Established", "--timeout=30s")
	}
	installed(t)
	kubectl(t, "apply", "-k", filepath.Join(env.Root, "manifests", "monitoring"))
	token := prometheus(t)
	scrape := func(url string, more ...string) string {
		out, err := the.Kubectl(t.Context(), append([]string{"exec", "prometheus", "--", "curl", "-sSk", "-m", "5", url}, more...)...)
		if err != nil {
			t.Logf("not yet: %v", err)
		}
		return out
	}
	authorization := "Authorization: Bearer " + token

	speakers := targets(t, "baremetal-speaker", len(the.Nodes()))
	eventually(t, "each speaker tells of all", func() bool {
		return !slices.ContainsFunc(speakers, func(url string) bool {
			return !strings.Contains(scrape(url), fmt.Sprintf("\nbaremetal_members_alive %d\n", len(the.Nodes())))
		})
	})
	managers := targets(t, "baremetal-cloud-controller-manager", 2)
	eventually(t, "the manager that leads tells of its configuration, and the other of none", func() bool {
		leading, waiting := 0, 0
		for _, url := range managers {
			switch metrics := scrape(url, "-H", authorization); {
			case strings.Contains(metrics, "\nbaremetal_config_last_load_successful 1\n"):
				leading++
			case strings.Contains(metrics, "\nbaremetal_ipam_") && !strings.Contains(metrics, "\nbaremetal_config_last_load_successful "):
				waiting++
			}
		}
		return leading == 1 && waiting == 1
	})
	for _, url := range managers {
		eventually(t, url+" refuses somebody without a token", func() bool {
			return scrape(url, "-o", "/dev/null", "-w", "%{http_code}") == "403"
		})
	}
}

// prometheus starts a pod that stands where Prometheus would, and returns the token
// of a service account that may read metrics, as servicemonitors.yaml asks for.
func prometheus(t *testing.T) (token string) {
	t.Helper()
	rights := filepath.Join(t.TempDir(), "prometheus.yaml")
	must(t, os.WriteFile(rights, []byte(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: prometheus, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: prometheus, image: "registry.k8s.io/e2e-test-images/agnhost:2.66.1"}]
`), 0o644))
	kubectl(t, "apply", "-f", rights)
	t.Cleanup(func() { kubectl(t, "delete", "-f", rights, "--timeout=1m") })
	kubectl(t, "wait", "pod/prometheus", "--for=condition=Ready", "--timeout=1m")
	return kubectl(t, "create", "token", "prometheus")
}

// targets waits until there is so much to be scraped as a ServiceMonitor asks for, and
// returns its URLs. It looks for them as the operator does.
func targets(t *testing.T, monitor string, n int) []string {
	t.Helper()
	var m struct {
		Spec struct {
			Selector  metav1.LabelSelector
			Endpoints []struct{ Port, Scheme, Path string }
		}
	}
	must(t, json.Unmarshal([]byte(kubectl(t, "-n", "baremetal-system", "get", "servicemonitor", monitor, "-o", "json")), &m))
	selector := metav1.FormatLabelSelector(&m.Spec.Selector)
	var urls []string
	eventually(t, "what "+monitor+" finds", func() bool {
		urls = nil
		services, err := the.Client.CoreV1().Services("baremetal-system").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		must(t, err)
		for _, service := range services.Items {
			found, err := the.Client.DiscoveryV1().EndpointSlices("baremetal-system").List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
			must(t, err)
			for _, slice := range found.Items {
				for _, want := range m.Spec.Endpoints {
					urls = append(urls, scraped(slice, want.Port, cmp.Or(want.Scheme, "http"), cmp.Or(want.Path, "/metrics"))...)
				}
			}
		}
		return len(urls) == n
	})
	return urls
}

// scraped are the URLs of the endpoints that are ready, at the port of that name.
func scraped(slice discoveryv1.EndpointSlice, port, scheme, path string) (urls []string) {
	for _, p := range slice.Ports {
		if p.Name == nil || *p.Name != port {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				urls = append(urls, scheme+"://"+net.JoinHostPort(e.Addresses[0], fmt.Sprint(*p.Port))+path)
			}
		}
	}
	return urls
}
