package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// kube-proxy writes its rules up to a second after an endpoint is ready (minSyncPeriod). Here
// it hangs for this time. Eight addresses have eight elections, so some prefer the new node.
func TestEndpointCountsWhenKubeProxyHasItsRules(t *testing.T) {
	f := setUp(t)
	f.runOn("settled", "settling", "node1")
	var probes []*cluster.Probe
	for i := range 8 {
		name := fmt.Sprint("settling", i)
		f.create(service(name, local("settling")))
		vip := f.assigned(name)
		f.fetched(vip)
		probe, err := f.cluster.StartProbe(vip)
		f.must(err)
		defer probe.Stop()
		probes = append(probes, probe)
	}
	begun := time.Now()
	f.cluster.Node("node3").FreezeProxy()
	defer f.cluster.Node("node3").ThawProxy()
	f.runOn("settles", "settling", "node3")
	f.kubectl("wait", "--for=condition=Ready", "pod/settles")
	ready := time.Now()
	f.eventually("a second has passed", func() bool { return time.Since(ready) > time.Second })
	f.cluster.Node("node3").ThawProxy()
	f.eventually("node3 owns some of the addresses", func() bool {
		plan, err := f.cluster.Node("node3").Get(f.Context(), "/debug/plan")
		return err == nil && strings.Contains(plan, "services=default/settling") && strings.Contains(plan, "candidates=node1,node3 reason=Owner")
	})
	for i, probe := range probes {
		n := len(probe.Attempts(begun))
		f.eventually("20 more connections", func() bool { return len(probe.Attempts(begun)) > n+20 })
		failed := 0
		for _, a := range probe.Attempts(begun) {
			if !a.OK {
				failed++
			}
		}
		if failed > 1 { // one may be opened at the very moment of the move
			f.Errorf("settling%d: %d of %d connections failed", i, failed, len(probe.Attempts(begun)))
		}
	}
}

// A reboot: the node comes back without kube-proxy, and its Node is NotReady.
func TestNodeOwnsNothingBeforeItsKubeProxyRuns(t *testing.T) {
	f := setUp(t)
	f.create(service("rebooted"))
	vip := f.assigned("rebooted")
	f.fetched(vip)
	owner := f.owner(vip)
	f.kubectl("patch", "node", owner.Name, "--subresource=status", "-p", `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"StandIn"}]}}`)
	f.Cleanup(func() {
		f.kubectl("patch", "node", owner.Name, "--subresource=status", "-p", `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"StandIn"}]}}`)
	})
	if now := f.announcer(vip); now != owner {
		f.Errorf("%s has lost the address to %s only because it is NotReady", owner.Name, now.Name)
	}

	owner.Speaker().Stop()
	owner.FreezeProxy()
	defer owner.ThawProxy()
	f.must(owner.StartSpeaker(f.Context()))
	f.must(owner.WaitReady(f.Context()))
	f.settled()
	if now := f.announcer(vip); now == owner {
		f.Errorf("%s owns the address without a kube-proxy", owner.Name)
	}
	f.fetched(vip)
	if plan, err := owner.Get(f.Context(), "/debug/plan"); err != nil || !strings.Contains(plan, "suppressed: kube-proxy does not answer yet") {
		f.Errorf("the plan does not say why (%v):\n%s", err, plan)
	}
	owner.ThawProxy()
	f.eventually("it owns the address again", func() bool { return f.announcer(vip) == owner })
	f.fetched(vip)
}

func TestNodeThatCrashedTakesItsAddressesBackLater(t *testing.T) {
	f := setUp(t)
	f.create(service("crashed"))
	vip := f.assigned("crashed")
	f.fetched(vip)
	owner := f.owner(vip)
	restart := func(flags ...string) {
		f.must(owner.StartSpeaker(f.Context(), flags...))
		f.must(owner.WaitReady(f.Context()))
		f.settled()
	}
	owner.Speaker().Kill()
	f.announcer(vip, owner)
	restart("--failback-after=10s")
	if plan, err := owner.Get(f.Context(), "/debug/plan"); err != nil || !strings.Contains(plan, "suppressed: it came back a short time ago") {
		f.Errorf("the plan does not say why it does not own the address (%v):\n%s", err, plan)
	}
	f.eventually("it owns the address again", func() bool { return f.announcer(vip) == owner })
	f.fetched(vip)

	owner.Speaker().Stop() // on purpose: the address returns at once
	f.announcer(vip, owner)
	restart()
	f.eventually("it owns the address at once", func() bool { return f.announcer(vip) == owner })
	if plan, err := owner.Get(f.Context(), "/debug/plan"); err != nil || strings.Contains(plan, "suppressed:") {
		f.Errorf("the plan says that it is suppressed (%v):\n%s", err, plan)
	}
}
