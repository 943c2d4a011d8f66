package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
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

// manifests/monitoring can be applied to a cluster with the Prometheus operator. Its
// ServiceMonitors select all pods of both programs, and these serve their metrics.
func TestMonitoring(t *testing.T) {
	f := setUp(t)
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		definition := filepath.Join(f.env.Module(operator), "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml")
		f.kubectl("apply", "--server-side", "-f", definition)
		f.Cleanup(func() { f.kubectl("delete", "-f", definition, "--timeout=1m") })
		f.kubectl("wait", "-f", definition, "--for=condition=Established", "--timeout=30s")
	}
	f.install()
	f.kubectl("apply", "-k", filepath.Join(f.env.Root, "manifests", "monitoring"))
	token := f.prometheus()
	scrape := func(url string, more ...string) string {
		out, err := f.cluster.Kubectl(f.Context(), append([]string{"exec", "prometheus", "--", "curl", "-sSk", "-m", "5", url}, more...)...)
		if err != nil {
			f.Logf("no metrics yet from %s: %v", url, err)
		}
		return out
	}
	authorization := "Authorization: Bearer " + token

	speakers := f.targets("baremetal-speaker", len(f.cluster.Nodes()))
	f.eventually("the metrics of each speaker count all speakers", func() bool {
		return !slices.ContainsFunc(speakers, func(url string) bool {
			return !strings.Contains(scrape(url, "-H", authorization), fmt.Sprintf("\nbaremetal_members_alive %d\n", len(f.cluster.Nodes())))
		})
	})
	managers := f.targets("baremetal-cloud-controller-manager", 2)
	f.eventually("only the cluster manager that is the leader has metrics of its configuration", func() bool {
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
	for status, urls := range map[string][]string{"401": speakers, "403": managers} {
		for _, url := range urls {
			f.eventually(url+" refuses a client without a token", func() bool {
				return scrape(url, "-o", "/dev/null", "-w", "%{http_code}") == status
			})
		}
	}
}

// The health and debug pages of a speaker listen on the loopback interface of the node only.
// kubectl port-forward reaches them.
func TestDebugPagesAreReachedByPortForward(t *testing.T) {
	f := setUp(t)
	f.install()
	vip := f.nginx()
	f.serves(vip)
	pod := f.kubectl("-n", "baremetal-system", "get", "pods", "-l", "app.kubernetes.io/name=baremetal-speaker", "-o", "jsonpath={.items[0].metadata.name}")
	ctx, stop := context.WithCancel(context.Background())
	forward := exec.CommandContext(ctx, f.cluster.Binary("kubectl"), "--kubeconfig="+f.cluster.Kubeconfig(), "-n", "baremetal-system", "port-forward", pod, ":7473")
	out, err := forward.StdoutPipe()
	f.must(err)
	f.must(forward.Start())
	f.Cleanup(func() {
		stop()
		_ = forward.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n') // Forwarding from 127.0.0.1:40000 -> 7473
	f.must(err)
	address, _, ok := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " ")
	if !ok {
		f.Fatalf("kubectl port-forward prints %q", line)
	}
	response, err := http.Get("http://" + address + "/debug/plan")
	f.must(err)
	defer response.Body.Close()
	plan, err := io.ReadAll(response.Body)
	f.must(err)
	if !strings.Contains(string(plan), "\n"+vip+" ") {
		f.Errorf("the plan does not have %s:\n%s", vip, plan)
	}
}

// prometheus starts a pod that replaces Prometheus. It returns the token of a service
// account with the right to read metrics, which servicemonitors.yaml requires.
func (f *fixture) prometheus() (token string) {
	f.Helper()
	rights := filepath.Join(f.TempDir(), "prometheus.yaml")
	f.must(os.WriteFile(rights, []byte(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: baremetal-metrics-reader}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: prometheus, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: prometheus, image: "registry.k8s.io/e2e-test-images/agnhost:2.66.1"}]
`), 0o644))
	f.kubectl("apply", "-f", rights)
	f.Cleanup(func() { f.kubectl("delete", "-f", rights, "--timeout=1m") })
	f.kubectl("wait", "pod/prometheus", "--for=condition=Ready", "--timeout=1m")
	return f.kubectl("create", "token", "prometheus")
}

// targets waits until a ServiceMonitor selects n endpoints, and returns their URLs. It
// looks for endpoints like the Prometheus operator.
func (f *fixture) targets(monitor string, n int) []string {
	f.Helper()
	var m struct {
		Spec struct {
			Selector  metav1.LabelSelector
			Endpoints []struct{ Port, Scheme, Path string }
		}
	}
	f.must(json.Unmarshal([]byte(f.kubectl("-n", "baremetal-system", "get", "servicemonitor", monitor, "-o", "json")), &m))
	selector := metav1.FormatLabelSelector(&m.Spec.Selector)
	var urls []string
	f.eventually(fmt.Sprintf("the ServiceMonitor %s selects %d endpoints", monitor, n), func() bool {
		urls = nil
		services, err := f.cluster.Client.CoreV1().Services("baremetal-system").List(f.Context(), metav1.ListOptions{LabelSelector: selector})
		f.must(err)
		for _, service := range services.Items {
			found, err := f.cluster.Client.DiscoveryV1().EndpointSlices("baremetal-system").List(f.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
			f.must(err)
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

// scraped returns the URLs of the ready endpoints, with the port of that name.
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
