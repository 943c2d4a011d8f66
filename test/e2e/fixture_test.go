package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// fixture is a test with the cluster that it runs on.
type fixture struct {
	*testing.T
	cluster *cluster.Cluster
	env     cluster.Env
}

// setUp returns the fixture of a test. Every test begins with it.
func setUp(t *testing.T) *fixture {
	t.Helper()
	return &fixture{T: t, cluster: shared.cluster, env: shared.env}
}

// must ends the test if err is not nil.
func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// kubectl runs kubectl as administrator, and returns its output without the space around
// it.
func (f *fixture) kubectl(args ...string) string {
	f.Helper()
	out, err := f.cluster.Kubectl(context.Background(), args...)
	f.must(err)
	return strings.TrimSpace(out)
}

// eventually waits until ok returns true, for one minute at most.
func (f *fixture) eventually(what string, ok func() bool) {
	f.Helper()
	f.must(f.cluster.Wait(context.Background(), what, ok))
}

// nginx creates two pods of nginx and a Service for them, and returns the address of the
// Service. It removes them at the end of the test.
func (f *fixture) nginx() string {
	f.Helper()
	f.kubectl("create", "deployment", "nginx", "--image=nginx:stable", "--replicas=2")
	f.Cleanup(func() { f.kubectl("delete", "deployment", "nginx") })
	f.kubectl("rollout", "status", "deployment/nginx", "--timeout=2m")
	f.kubectl("expose", "deployment", "nginx", "--port=80", "--type=LoadBalancer")
	f.Cleanup(func() { f.kubectl("delete", "service", "nginx", "--timeout=30s") })
	f.kubectl("wait", "service/nginx", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=30s")
	return f.kubectl("get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
}

// serves waits until the client gets the page of nginx from the address.
func (f *fixture) serves(vip string) {
	f.Helper()
	f.eventually("a page from "+vip, func() bool {
		page, err := f.cluster.Fetch(f.Context(), vip)
		return err == nil && strings.Contains(page, "Welcome to nginx!")
	})
}

// install installs the product of this commit with the manifests, and uninstalls it at
// the end of the test.
func (f *fixture) install() {
	f.Helper()
	f.Cleanup(f.uninstall)
	f.must(f.cluster.DeployShipped(context.Background(), cluster.DefaultPools))
}

// uninstall deletes the manifests, as "Uninstall" in docs/guides/upgrade.md says, and
// checks that nothing of the product is left.
func (f *fixture) uninstall() {
	f.Helper()
	f.uninstalls("-k", filepath.Join(f.env.Root, "manifests"))
}

// uninstalls does the same with the manifests that kubectl finds with these arguments.
func (f *fixture) uninstalls(manifests ...string) {
	f.Helper()
	f.kubectl(append(append([]string{"delete"}, manifests...), "--ignore-not-found", "--timeout=2m")...)
	if all := f.kubectl("get", "namespaces,clusterroles,clusterrolebindings", "-o", "name"); strings.Contains(all, "baremetal") {
		f.Errorf("these objects of the product are left:\n%s", all)
	}
}
