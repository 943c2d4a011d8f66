package e2e

import (
	"bytes"
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

// The commands of docs/tutorial.md do what the page shows.
func TestTutorial(t *testing.T) {
	t.Cleanup(func() { // the page does all that itself, unless it fails
		kubectl(t, "delete", "deployment,service", "-l", "app in (nginx, httpd)", "--ignore-not-found")
		kubectl(t, "delete", "-f", filepath.Join(env.Root, "docs", "tutorial"), "--ignore-not-found")
		for _, node := range the.Nodes() {
			must(t, node.Revive())
		}
		uninstall(t)
	})
	page, err := os.ReadFile(filepath.Join(env.Root, "docs", "tutorial.md"))
	must(t, err)
	shell := tutorial.NewShell(env.Root, the.Kubeconfig(), the.Binary("kubectl"))
	for _, step := range tutorial.Parse(string(page)) {
		if step.Command == "" {
			t.Log(step.Title)
			continue
		}
		out, err := shell.Run(t.Context(), step.Command)
		t.Logf("$ %s\n%s", step.Command, out)
		if err != nil || !step.Matches(out) {
			t.Fatalf("this is not what the page shows (%v):\n%s", err, step.Output)
		}
	}
}

// Speakers start wherever they can be needed: on nodes with taints, and on nodes
// whose pods have no network yet.
func TestSpeakersStartOnTaintedAndOnUnnetworkedNodes(t *testing.T) {
	kubectl(t, "taint", "node", "node1", "test=tainted:NoExecute")
	t.Cleanup(func() { kubectl(t, "taint", "node", "node1", "test-") })
	network := filepath.Join(env.Dir, "node2", "cni", "pods.conflist")
	must(t, os.Rename(network, network+".away"))
	t.Cleanup(func() {
		must(t, os.Rename(network+".away", network))
		kubectl(t, "wait", "node/node2", "--for=condition=Ready", "--timeout=60s")
	})
	kubectl(t, "wait", "node/node2", "--for=condition=Ready=false", "--timeout=60s")
	installed(t)
	for _, node := range []string{"node1", "node2"} {
		pods := kubectl(t, "-n", "baremetal-system", "get", "pods", "--field-selector=spec.nodeName="+node, "-l", "app.kubernetes.io/name=baremetal-speaker",
			"-o", "jsonpath={.items[*].status.containerStatuses[*].ready}")
		if pods != "true" {
			t.Errorf("speakers of %s that are ready: %q", node, pods)
		}
	}
}

// A drain cannot take both cluster managers at once.
func TestOneClusterManagerStaysWhenNodesAreDrained(t *testing.T) {
	installed(t)
	ctx := context.Background()
	pods := the.Client.CoreV1().Pods("baremetal-system")
	both, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=baremetal-cloud-controller-manager"})
	must(t, err)
	if len(both.Items) != 2 {
		t.Fatalf("%d cluster managers", len(both.Items))
	}
	evict := func(i int) error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: both.Items[i].Name, Namespace: "baremetal-system"}})
	}
	eventually(t, "the first eviction", func() bool { return evict(0) == nil }) // the controller of budgets may not have counted yet
	if err := evict(1); !apierrors.IsTooManyRequests(err) {
		t.Errorf("the second eviction: %v", err)
	}
	must(t, the.RolledOut(ctx))
}

// Going from the commit before to this one, as `kubectl apply -k` does it, loses no
// connection but one that is opened in the very moment in which an address moves.
func TestUpgradeUnderTraffic(t *testing.T) {
	ctx := context.Background()
	t.Cleanup(func() { uninstall(t) })
	kubectl(t, "apply", "-k", filepath.Join(env.Previous(), "manifests"))
	must(t, the.SetPools(ctx, cluster.DefaultPools))
	must(t, the.RolledOut(ctx))
	vip := nginx(t)
	serves(t, vip)
	probe, err := the.StartProbe(vip)
	must(t, err)
	defer probe.Stop()
	eventually(t, "some answers", func() bool { return len(probe.Attempts(time.Time{})) >= 100 })
	kubectl(t, "apply", "-k", filepath.Join(env.Root, "manifests"))
	must(t, the.RolledOut(ctx))
	after := time.Now()
	eventually(t, "some answers after it", func() bool { return len(probe.Attempts(after)) >= 100 })
	images := kubectl(t, "-n", "baremetal-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}")
	if strings.Contains(images, "previous") {
		t.Errorf("after the upgrade these images run: %s", images)
	}
	lost := 0
	attempts := probe.Attempts(time.Time{})
	for _, a := range attempts {
		if !a.OK {
			lost++
		}
	}
	t.Logf("%d of %d connections were lost", lost, len(attempts))
	if most := len(the.Nodes()); lost > most { // one a restarted speaker
		t.Errorf("%d of %d connections were lost, more than the %d moves there can have been", lost, len(attempts), most)
	}
}

// Uninstalling as docs/operations.md says leaves Services that can be deleted, and
// nothing of ours.
func TestUninstall(t *testing.T) {
	must(t, the.DeployShipped(context.Background(), cluster.DefaultPools))
	serves(t, nginx(t))
	uninstall(t)
	release := func() (string, error) {
		out, err := exec.Command(the.Binary("baremetal-cloud-controller-manager"), "release", "--kubeconfig="+the.Kubeconfig(), "--yes").CombinedOutput()
		return string(out), err
	}
	var out string
	eventually(t, "the lease to run out", func() (ok bool) {
		var err error
		out, err = release()
		return err == nil
	})
	t.Log(out)
	if left := kubectl(t, "get", "service", "nginx", "-o", "jsonpath={.metadata.finalizers}{.status.loadBalancer.ingress}"); left != "" {
		t.Errorf("the Service still has %s", left)
	}
}

// The chart installs, changes and uninstalls with the commands of README.md.
func TestHelmChart(t *testing.T) {
	pools := filepath.Join(env.Dir, "pools.yaml")
	must(t, os.WriteFile(pools, []byte(cluster.DefaultPools), 0o644))
	helm := func(args ...string) {
		t.Helper()
		cmd := exec.Command(the.Binary("helm"), append([]string{"--kubeconfig=" + the.Kubeconfig(), "-n", "baremetal-system"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	chart := filepath.Join(env.Root, "manifests", "helm")
	kubectl(t, "create", "namespace", "baremetal-system")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "baremetal-system", "--timeout=2m") })
	kubectl(t, "label", "namespace", "baremetal-system", "pod-security.kubernetes.io/enforce=privileged")
	helm("install", "baremetal", chart, "--set", "image.repository=cloud-provider-baremetal", "--set-file", "config="+pools, "--wait", "--timeout=2m")
	t.Cleanup(func() { helm("uninstall", "baremetal", "--wait", "--timeout=2m") })
	serves(t, nginx(t))
	helm("upgrade", "baremetal", chart, "--reuse-values", "--set", "ccm.replicas=3", "--wait", "--timeout=2m")
	if replicas := kubectl(t, "-n", "baremetal-system", "get", "deployments", "-o", "jsonpath={.items[*].status.readyReplicas}"); replicas != "3" {
		t.Errorf("%s cluster managers are ready after the upgrade to 3", replicas)
	}
}
