// Package e2e tests the product as it is shipped: its image, its manifests and its
// chart, on a Kubernetes with kubelets. The tests share one cluster, on which
// nothing of ours is installed when a test begins and when it ends.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

var (
	the *cluster.Cluster
	env cluster.Env
)

func TestMain(m *testing.M) {
	needs := cluster.Needs{Full: true, Previous: true, Programs: []cluster.Program{cluster.Helm, cluster.Traefik}, Modules: []string{operator + "@v0.85.0"}}
	os.Exit(cluster.Main(needs, func(e cluster.Env) int {
		c, err := cluster.Start(context.Background(), e, cluster.Options{Speakers: 4, Full: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer c.Close()
		the, env = c, e
		code := m.Run()
		if err := c.Crashed(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := the.Kubectl(context.Background(), args...)
	must(t, err)
	return strings.TrimSpace(out)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	must(t, the.Wait(context.Background(), what, ok))
}

// nginx makes two pods on other nodes than each other and a Service in front of
// them, and returns its address. They are removed at the end of the test.
func nginx(t *testing.T) string {
	t.Helper()
	kubectl(t, "create", "deployment", "nginx", "--image=nginx:stable", "--replicas=2")
	t.Cleanup(func() { kubectl(t, "delete", "deployment", "nginx") })
	kubectl(t, "rollout", "status", "deployment/nginx", "--timeout=2m")
	kubectl(t, "expose", "deployment", "nginx", "--port=80", "--type=LoadBalancer")
	t.Cleanup(func() { kubectl(t, "delete", "service", "nginx", "--timeout=30s") })
	kubectl(t, "wait", "service/nginx", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=30s")
	return kubectl(t, "get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
}

// serves waits until there is a page of nginx at the address.
func serves(t *testing.T, vip string) {
	t.Helper()
	eventually(t, "a page from "+vip, func() bool {
		page, err := the.Fetch(t.Context(), vip)
		return err == nil && strings.Contains(page, "Welcome to nginx!")
	})
}

// installed installs the product of this commit with the manifests, and
// uninstalls it at the end of the test.
func installed(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { uninstall(t) })
	must(t, the.DeployShipped(context.Background(), cluster.DefaultPools))
}

// uninstall does what docs/operations.md says, and checks that nothing stays.
func uninstall(t *testing.T) {
	t.Helper()
	kubectl(t, "delete", "-k", filepath.Join(env.Root, "manifests"), "--ignore-not-found", "--timeout=2m")
	if all := kubectl(t, "get", "namespaces,clusterroles,clusterrolebindings", "-o", "name"); strings.Contains(all, "baremetal") {
		t.Errorf("this is left of the product:\n%s", all)
	}
}
