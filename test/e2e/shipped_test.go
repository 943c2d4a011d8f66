package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// The commands of docs/guides/tutorial.md have the output that the page shows.
func TestTutorial(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { // the page itself cleans up, unless a command fails
		f.kubectl("delete", "deployment,service", "-l", "app in (nginx, httpd)", "--ignore-not-found")
		f.kubectl("delete", "-f", filepath.Join(f.env.Root, "docs", "guides", "tutorial"), "--ignore-not-found")
		for _, node := range f.cluster.Nodes() {
			f.must(node.Revive())
		}
		f.uninstall()
	})
	page, err := os.ReadFile(filepath.Join(f.env.Root, "docs", "guides", "tutorial.md"))
	f.must(err)
	shell := tutorial.NewShell(f.env.Root, f.cluster.Kubeconfig(), f.cluster.Binary("kubectl"))
	for _, step := range tutorial.Parse(string(page)) {
		if step.Command == "" {
			f.Log(step.Title)
			continue
		}
		out, err := shell.Run(f.Context(), step.Command)
		f.Logf("$ %s\n%s", step.Command, out)
		if err != nil || !step.Matches(out) {
			f.Fatalf("the output differs from the page, or the command failed (%v); the page shows:\n%s", err, step.Output)
		}
	}
}

// Speakers also start on nodes with taints, and on nodes whose pods have no network yet.
func TestSpeakersStartOnTaintedAndUnnetworkedNodes(t *testing.T) {
	f := setUp(t)
	f.kubectl("taint", "node", "node1", "test=tainted:NoExecute")
	f.Cleanup(func() { f.kubectl("taint", "node", "node1", "test-") })
	network := filepath.Join(f.env.Dir, "node2", "cni", "pods.conflist")
	f.must(os.Rename(network, network+".away"))
	f.Cleanup(func() {
		f.must(os.Rename(network+".away", network))
		f.kubectl("wait", "node/node2", "--for=condition=Ready", "--timeout=60s")
	})
	f.kubectl("wait", "node/node2", "--for=condition=Ready=false", "--timeout=60s")
	f.install()
	for _, node := range []string{"node1", "node2"} {
		pods := f.kubectl("-n", "baremetal-system", "get", "pods", "--field-selector=spec.nodeName="+node, "-l", "app.kubernetes.io/name=baremetal-speaker",
			"-o", "jsonpath={.items[*].status.containerStatuses[*].ready}")
		if pods != "true" {
			f.Errorf("the ready state of the speaker of %s is %q, want \"true\"", node, pods)
		}
	}
}

// A drain cannot evict both cluster managers at the same time.
func TestClusterManagerSurvivesADrain(t *testing.T) {
	f := setUp(t)
	f.install()
	ctx := context.Background()
	pods := f.cluster.Client.CoreV1().Pods("baremetal-system")
	both, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=baremetal-cloud-controller-manager"})
	f.must(err)
	if len(both.Items) != 2 {
		f.Fatalf("there are %d cluster managers, want 2", len(both.Items))
	}
	evict := func(i int) error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: both.Items[i].Name, Namespace: "baremetal-system"}})
	}
	f.eventually("the first eviction", func() bool { return evict(0) == nil }) // fails until the disruption controller has counted the pods
	if err := evict(1); !apierrors.IsTooManyRequests(err) {
		f.Errorf("the second eviction was not refused: %v", err)
	}
	f.must(f.cluster.RolledOut(ctx))
}

// An upgrade from the previous commit to this commit with `kubectl apply -k` loses only
// connections that are being opened at the moment when an address moves.
func TestUpgradeUnderTraffic(t *testing.T) {
	f := setUp(t)
	ctx := context.Background()
	f.Cleanup(f.uninstall)
	f.kubectl("apply", "-k", filepath.Join(f.env.Previous(), "manifests"))
	f.must(f.cluster.SetPools(ctx, cluster.DefaultPools))
	f.must(f.cluster.RolledOut(ctx))
	vip := f.nginx()
	f.serves(vip)
	probe, err := f.cluster.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	f.eventually("100 connections", func() bool { return len(probe.Attempts(time.Time{})) >= 100 })
	f.kubectl("apply", "-k", filepath.Join(f.env.Root, "manifests"))
	f.must(f.cluster.RolledOut(ctx))
	after := time.Now()
	f.eventually("100 connections after the upgrade", func() bool { return len(probe.Attempts(after)) >= 100 })
	images := f.kubectl("-n", "baremetal-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}")
	if strings.Contains(images, "previous") {
		f.Errorf("after the upgrade some pods still run the previous image: %s", images)
	}
	lost := 0
	attempts := probe.Attempts(time.Time{})
	for _, a := range attempts {
		if !a.OK {
			lost++
		}
	}
	f.Logf("%d of %d connections were lost", lost, len(attempts))
	if most := len(f.cluster.Nodes()); lost > most { // the restart of each speaker can cost one connection
		f.Errorf("%d of %d connections were lost, want %d at most, one for each restarted speaker", lost, len(attempts), most)
	}
}

// After "Uninstall" in docs/guides/upgrade.md nothing of the product is left, and Services
// can be deleted.
func TestUninstall(t *testing.T) {
	f := setUp(t)
	f.must(f.cluster.DeployShipped(context.Background(), cluster.DefaultPools))
	f.serves(f.nginx())
	f.uninstall()
	release := func() (string, error) {
		out, err := exec.Command(f.cluster.Binary("kubectl-baremetal"), "release", "--kubeconfig="+f.cluster.Kubeconfig(), "--yes").CombinedOutput()
		return string(out), err
	}
	var out string
	f.eventually("the lease to expire", func() (ok bool) {
		var err error
		out, err = release()
		return err == nil
	})
	f.Log(out)
	if left := f.kubectl("get", "service", "nginx", "-o", "jsonpath={.metadata.finalizers}{.status.loadBalancer.ingress}"); left != "" {
		f.Errorf("the Service still has %s", left)
	}
}
