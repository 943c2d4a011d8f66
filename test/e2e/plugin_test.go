package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// plugin runs kubectl baremetal, and returns its output and exit status.
func (f *fixture) plugin(args ...string) (out string, status int) {
	f.Helper()
	command := exec.CommandContext(f.Context(), f.cluster.Binary("kubectl-baremetal"), append(args, "--kubeconfig="+f.cluster.Kubeconfig())...)
	text, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), exit.ExitCode()
	}
	f.must(err)
	return string(text), 0
}

// says waits until a command of the plugin ends with this status and prints the text.
func (f *fixture) says(status int, text string, args ...string) {
	f.Helper()
	var out string
	var got int
	defer func() {
		if f.Failed() {
			f.Logf("kubectl baremetal %s: exit status %d\n%s", strings.Join(args, " "), got, out)
		}
	}()
	f.eventually(text, func() bool {
		out, got = f.plugin(args...)
		return got == status && strings.Contains(out, text)
	})
}

// The plugin reaches all programs by port-forward, finds nothing wrong in a cluster that is well, and names the
// cause of each fault.
func TestPluginNamesTheCauseOfFaults(t *testing.T) {
	f := setUp(t)
	f.install()
	vip := f.nginx()
	f.serves(vip)
	f.says(0, "No problems found.", "status")
	out, _ := f.plugin("status", "-o", "wide")
	f.Log(out)
	for _, want := range []string{"leads", "3/3", vip, "in use"} {
		if !strings.Contains(out, want) {
			f.Errorf("status does not say %q", want)
		}
	}
	var document struct {
		Speakers []struct{ Node, State string }
		Problems []any
	}
	out, _ = f.plugin("status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &document); err != nil || len(document.Speakers) != len(f.cluster.Nodes()) || document.Speakers[0].State != "ok" || len(document.Problems) != 0 {
		f.Errorf("%v in\n%s", err, out)
	}
	f.says(0, "Address "+vip+": one Service has it (pool default)", "explain", vip)
	f.says(0, "hosts of the segment send to node ", "explain", "svc/nginx")
	out, _ = f.plugin("explain", "nginx")
	f.Log(out)

	services := f.cluster.Client.CoreV1().Services("default")
	_, err := services.Create(f.Context(), &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "waits", Annotations: map[string]string{"lb.baremetal/addresses": "192.0.2.99"}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	f.must(err)
	f.says(1, `pool "default": it does not have the address that the Service asks for`, "explain", "waits")
	f.kubectl("delete", "service", "waits", "--timeout=30s")

	typo := strings.Replace(cluster.DefaultPools, "addresses:", "adresses:", 1)
	f.must(f.cluster.SetPools(f.Context(), typo))
	f.says(1, "ERROR ConfigRefused: ConfigMap baremetal-system/config: it is refused: ", "status")
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools))

	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	f.kubectl("label", "nodes", "--all", label+"=")
	f.Cleanup(func() { f.kubectl("label", "nodes", "--all", label+"-") })
	f.says(1, "ERROR NoCandidate: Service default/nginx: "+vip+" is not announced: no node may announce it", "explain", "nginx")
	f.kubectl("label", "nodes", "--all", label+"-")

	f.kubectl("scale", "deployment", "nginx", "--replicas=0")
	f.says(1, "ERROR NoEndpoints: Service default/nginx: no pod of it is ready", "status")
	f.kubectl("scale", "deployment", "nginx", "--replicas=2")
	f.says(0, "No problems found.", "status")
}
