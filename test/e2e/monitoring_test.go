package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// operator is the module that holds the definitions of the Prometheus operator's
// resources.
const operator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// manifests/monitoring can be applied where the Prometheus operator is, and what its
// ServiceMonitors find are all pods of both programs, which hand out their metrics.
func TestMonitoring(t *testing.T) {
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		definition := filepath.Join(operatorFiles(t), "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml")
		kubectl(t, "apply", "--server-side", "-f", definition)
		t.Cleanup(func() { kubectl(t, "delete", "-f", definition, "--timeout=1m") })
		kubectl(t, "wait", "-f", definition, "--for=condition=Established", "--timeout=30s")
	}
	installed(t)
	kubectl(t, "apply", "-k", filepath.Join(env.Root, "manifests", "monitoring"))
	token := prometheus(t)

	scrape := func(args ...string) string {
		t.Helper()
		return kubectl(t, append([]string{"exec", "prometheus", "--", "curl", "-sSk", "-m", "5"}, args...)...)
	}
	for _, speaker := range targets(t, "baremetal-speaker-metrics", len(the.Nodes())) {
		url := "http://" + net.JoinHostPort(speaker, "7472") + "/metrics"
		eventually(t, url+" tells of all speakers", func() bool {
			return strings.Contains(scrape(url), fmt.Sprintf("\nbaremetal_members_alive %d\n", len(the.Nodes())))
		})
	}
	managers := targets(t, "baremetal-cloud-controller-manager-metrics", 2)
	eventually(t, "the manager that leads tells of its configuration, and the other of none", func() bool {
		leading := 0
		for _, manager := range managers {
			url := "https://" + net.JoinHostPort(manager, "10258") + "/metrics"
			metrics := scrape("-H", "Authorization: Bearer "+token, url)
			if !strings.Contains(metrics, "\nbaremetal_ipam_allocation_duration_seconds_count ") {
				return false
			}
			if strings.Contains(metrics, "\nbaremetal_config_last_load_successful 1\n") {
				leading++
			}
			if code := scrape("-o", "/dev/null", "-w", "%{http_code}", url); code != "403" {
				t.Fatalf("%s answers somebody without a token with %s", url, code)
			}
		}
		return leading == 1
	})
}

// operatorFiles returns where the operator's module is.
func operatorFiles(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", operator).Output()
	must(t, err)
	var module struct{ Dir string }
	must(t, json.Unmarshal(out, &module))
	return module.Dir
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

// targets waits until the Service has so many endpoints, and returns their addresses.
func targets(t *testing.T, service string, n int) []string {
	t.Helper()
	var found []string
	eventually(t, "the endpoints of "+service, func() bool {
		found = strings.Fields(kubectl(t, "-n", "baremetal-system", "get", "endpointslices", "-l", "kubernetes.io/service-name="+service,
			"-o", "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}"))
		return len(found) == n
	})
	return found
}
