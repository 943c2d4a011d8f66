package integration

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// These are the steps of docs/guides/metallb.md.
func TestMigrationFromMetalLBKeepsAddresses(t *testing.T) {
	f := setUp(t)
	ctx := context.Background()
	stop(f.cluster.CCMs())
	for _, n := range f.cluster.Nodes() {
		n.Speaker().Stop()
	}
	restore := func() {
		f.restartCCMs()
		for _, n := range f.cluster.Nodes() {
			if !n.Speaker().Running() {
				f.must(n.StartSpeaker(ctx))
			}
		}
		for _, n := range f.cluster.Nodes() {
			f.must(n.WaitReady(ctx))
		}
		f.settled()
	}
	f.Cleanup(restore)
	f.pools(cluster.DefaultPools)
	f.withoutPolicy() // a cluster with MetalLB does not have it
	for n := 1; n <= 3; n++ {
		f.runOn(fmt.Sprint("moved", n), "moved", fmt.Sprint("node", n))
	}
	theirs := f.startMetalLB()
	// MetalLB runs without its member list here. Its speakers then announce only Services
	// with externalTrafficPolicy Local.
	moved := local("moved")

	asked := []*v1.Service{
		service("first", moved),
		service("wanted", moved, func(s *v1.Service) { s.Spec.LoadBalancerIP = "192.168.120.222" }),
		service("shared-tcp", moved, annotated("metallb.universe.tf/allow-shared-ip", "dns")),
		service("shared-udp", moved, annotated("metallb.universe.tf/allow-shared-ip", "dns"), port(v1.ProtocolUDP, 53)),
		service("six", moved, families(v1.IPFamilyPolicySingleStack, v1.IPv6Protocol)),
	}
	before := map[string]string{}
	for _, s := range asked {
		_, err := f.cluster.Client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		f.must(err)
		f.Cleanup(func() { f.remove(s.Name) })
		before[s.Name] = f.assigned(s.Name)
	}
	f.Logf("from MetalLB: %v", before)
	f.fetched(before["first"])
	f.fetched(before["six"])
	probe, err := f.cluster.StartProbe(before["first"])
	f.must(err)
	defer probe.Stop()
	begun := time.Now()

	stop(theirs.controller)
	f.must(f.cluster.ApplyPolicy(ctx))
	f.restartCCMs()
	for name := range before {
		f.eventually(name+" has a finalizer", func() bool { return len(f.get(name).Finalizers) > 0 })
	}
	f.create(service("new"))
	new := f.assigned("new")
	stop(theirs.speakers)
	for _, n := range f.cluster.Nodes() {
		f.must(n.StartSpeaker(ctx))
	}
	for _, n := range f.cluster.Nodes() {
		f.must(n.WaitReady(ctx))
	}
	for name, vip := range before {
		if now := addressesOf(f.get(name)); now != vip {
			f.Errorf("%s had %s and now has %s", name, vip, now)
		}
		if vip == new {
			f.Errorf("a new Service got %s, which %s has", new, name)
		}
	}
	for _, vip := range []string{before["first"], before["wanted"], before["six"], new} {
		f.announcer(vip)
		f.fetched(vip)
	}
	failed := 0
	for _, a := range probe.Attempts(begun) {
		if !a.OK {
			failed++
		}
	}
	f.Logf("during the migration: %d connections to %s, %d failed", len(probe.Attempts(begun)), before["first"], failed)
	if failed > 10 { // 10 connections are a tenth of a second
		f.Errorf("%d connections failed", failed)
	}
}

// These are the steps of "Uninstall" in docs/guides/upgrade.md, except that this cluster
// has no Deployment and no DaemonSet to delete.
func TestReleaseLetsServicesBeDeletedAfterUninstalling(t *testing.T) {
	f := setUp(t)
	f.create(service("left"))
	f.create(service("left-classed", class("lb.baremetal/default")))
	vip := f.assigned("left")
	f.assigned("left-classed")
	f.eventually("both have finalizers", func() bool { return len(f.get("left").Finalizers)+len(f.get("left-classed").Finalizers) == 2 })
	f.Cleanup(func() { f.restartCCMs() })
	defer func() { f.must(f.cluster.ApplyPolicy(context.Background())) }()
	release := func(flags ...string) (string, error) {
		out, err := exec.Command(f.cluster.Binary("kubectl-baremetal"), append([]string{"release", "--kubeconfig=" + f.cluster.Kubeconfig()}, flags...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := release(); err == nil || !strings.Contains(out, "would put everything back: delete its Deployment") {
		f.Errorf("while a cloud controller manager runs: %v: %s", err, out)
	}
	stop(f.cluster.CCMs())
	f.eventually("the lease has expired", func() bool {
		text, _ := release()
		return strings.Contains(text, "baremetal-service-status exists")
	})
	f.kubectl("delete", "-f", f.cluster.Root()+"/manifests/policy.yaml")
	out, err := release()
	if err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	if !strings.HasSuffix(out, "Nothing has been done. To do this to 2 Services, add --yes.\n") || addressesOf(f.get("left")) != vip {
		f.Errorf("without --yes it printed %q", out)
	}
	f.eventually("the API server has forgotten the policy", func() bool {
		out, err = release("--yes")
		return err == nil || !strings.Contains(out, "baremetal-service-status")
	})
	if err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(out, "default/left: finalizer removed, "+vip+" released, conditions removed\n") || !strings.Contains(out, "default/left-classed: finalizer removed, ") {
		f.Errorf("with --yes it printed %q", out)
	}
	if now := addressesOf(f.get("left")); now != "" {
		f.Errorf("the Service still has %s", now)
	}
	f.remove("left")
	f.remove("left-classed")
}
