package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// metalLB is MetalLB v0.12.1: its controller, and a speaker on every node.
type metalLB struct{ controller, speakers []*cluster.Process }

func startMetalLB(t *testing.T) *metalLB {
	t.Helper()
	bin := filepath.Join(the.Root(), "bin", "metallb")
	if _, err := os.Stat(filepath.Join(bin, "controller")); err != nil {
		t.Fatalf("%v; make integration builds it", err)
	}
	run := func(name, netns string, args ...string) *cluster.Process {
		p, err := the.Run(name, netns, append(args, "-kubeconfig="+the.Kubeconfig(), "-namespace=baremetal-system", "-config=config", "-disable-epslices")...)
		must(t, err)
		t.Cleanup(p.Stop)
		return p
	}
	m := &metalLB{controller: []*cluster.Process{run("metallb-controller", "", filepath.Join(bin, "controller"), "-port=17472")}}
	for _, n := range the.Nodes() {
		m.speakers = append(m.speakers, run("metallb-speaker-"+n.Name, n.Name, filepath.Join(bin, "speaker"), "-node-name="+n.Name, "-host=127.0.0.1"))
	}
	return m
}

func stop(processes []*cluster.Process) {
	for _, p := range processes {
		p.Stop()
	}
}

// The steps of docs/coming-from-metallb.md.
func TestServicesOfMetalLBKeepTheirAddresses(t *testing.T) {
	ctx := context.Background()
	stop(the.CCMs())
	for _, n := range the.Nodes() {
		n.Speaker().Stop()
	}
	restore := func() {
		restartCCMs(t)
		for _, n := range the.Nodes() {
			if !n.Speaker().Running() {
				must(t, n.StartSpeaker(ctx))
			}
		}
		for _, n := range the.Nodes() {
			must(t, n.WaitReady(ctx))
		}
		settled(t)
	}
	t.Cleanup(restore)
	pools(t, cluster.DefaultPools)
	for n := 1; n <= 3; n++ {
		runOn(t, fmt.Sprint("moved", n), "moved", fmt.Sprint("node", n))
	}
	theirs := startMetalLB(t)
	moved := local("moved") // without its member list MetalLB's speakers announce nothing else

	asked := []*v1.Service{
		service("first", moved),
		service("wanted", moved, func(s *v1.Service) { s.Spec.LoadBalancerIP = "192.168.120.222" }),
		service("shared-tcp", moved, annotated("metallb.universe.tf/allow-shared-ip", "dns")),
		service("shared-udp", moved, annotated("metallb.universe.tf/allow-shared-ip", "dns"), port(v1.ProtocolUDP, 53)),
		service("six", moved, families(v1.IPFamilyPolicySingleStack, v1.IPv6Protocol)),
	}
	before := map[string]string{}
	for _, s := range asked {
		_, err := the.Client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		must(t, err)
		t.Cleanup(func() { remove(t, s.Name) })
		before[s.Name] = assigned(t, s.Name)
	}
	t.Logf("from MetalLB: %v", before)
	fetched(t, before["first"])
	fetched(t, before["six"])
	probe, err := the.StartProbe(before["first"])
	must(t, err)
	defer probe.Stop()
	begun := time.Now()

	stop(theirs.controller)
	restartCCMs(t)
	for name := range before {
		eventually(t, name+" is ours", func() bool { return len(get(t, name).Finalizers) > 0 })
	}
	create(t, service("new"))
	new := assigned(t, "new")
	stop(theirs.speakers)
	for _, n := range the.Nodes() {
		must(t, n.StartSpeaker(ctx))
	}
	for _, n := range the.Nodes() {
		must(t, n.WaitReady(ctx))
	}
	for name, vip := range before {
		if now := addressesOf(get(t, name)); now != vip {
			t.Errorf("%s had %s and has %s", name, vip, now)
		}
		if vip == new {
			t.Errorf("a new Service has got %s, which %s has", new, name)
		}
	}
	for _, vip := range []string{before["first"], before["wanted"], before["six"], new} {
		announcer(t, vip)
		fetched(t, vip)
	}
	failed := 0
	for _, a := range probe.Attempts(begun) {
		if !a.OK {
			failed++
		}
	}
	t.Logf("%d connections to %s meanwhile, %d failed", len(probe.Attempts(begun)), before["first"], failed)
	if failed > 10 { // a tenth of a second
		t.Errorf("%d connections failed", failed)
	}
}

// The steps of "Uninstall" in docs/operations.md, but for the objects of the programs.
func TestAfterUninstallingServicesCanBeDeleted(t *testing.T) {
	create(t, service("left"))
	create(t, service("left-classed", func(s *v1.Service) { class := "lb.baremetal/default"; s.Spec.LoadBalancerClass = &class }))
	vip := assigned(t, "left")
	assigned(t, "left-classed")
	eventually(t, "both have finalizers", func() bool { return len(get(t, "left").Finalizers)+len(get(t, "left-classed").Finalizers) == 2 })
	t.Cleanup(func() { restartCCMs(t) })
	release := func(flags ...string) (string, error) {
		out, err := exec.Command(the.Binary("baremetal-cloud-controller-manager"), append([]string{"release", "--kubeconfig=" + the.Kubeconfig()}, flags...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := release(); err == nil || !strings.Contains(out, "would put everything back: delete its Deployment") {
		t.Errorf("beside a cloud controller manager: %v: %s", err, out)
	}
	stop(the.CCMs())
	var out string
	eventually(t, "the lease has run out", func() bool {
		var err error
		out, err = release()
		return err == nil
	})
	if !strings.HasSuffix(out, "Nothing has been done. To do this to 2 Services, add --yes.\n") || addressesOf(get(t, "left")) != vip {
		t.Errorf("without --yes: %q", out)
	}
	out, err := release("--yes")
	must(t, err)
	if !strings.Contains(out, "default/left: finalizer removed, "+vip+" released\n") || !strings.Contains(out, "default/left-classed: finalizer removed, ") {
		t.Errorf("it says %q", out)
	}
	if now := addressesOf(get(t, "left")); now != "" {
		t.Errorf("the Service still has %s", now)
	}
	remove(t, "left")
	remove(t, "left-classed")
}
