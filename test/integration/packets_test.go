package integration

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestClientGetsThePageOverIPv4AndIPv6(t *testing.T) {
	f := setUp(t)
	f.create(service("dual", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
	vips := strings.Split(f.assigned("dual"), ",")
	if len(vips) != 2 {
		f.Fatalf("got %v", vips)
	}
	for _, vip := range vips {
		f.fetched(vip)
	}
	for _, i := range f.get("dual").Status.LoadBalancer.Ingress {
		if i.IPMode == nil || *i.IPMode != v1.LoadBalancerIPModeVIP {
			f.Errorf("%s has ipMode %v, want VIP", i.IP, i.IPMode)
		}
	}
	f.event("Service", "dual", "Announced", vips[0])
}

func TestTakeoverWhenTheOwnerDies(t *testing.T) {
	f := setUp(t)
	for _, family := range []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		f.Run(string(family), func(f *fixture) {
			f.create(service("failover", families(v1.IPFamilyPolicySingleStack, family)))
			vip := f.assigned("failover")
			f.fetched(vip)
			dead := f.announcer(vip)
			f.must(dead.Kill())
			f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
			f.announcer(vip, dead)
			f.fetched(vip)
		})
	}
}

func TestTakeoverWhenTheOwnerFreezes(t *testing.T) {
	f := setUp(t)
	f.create(service("freeze"))
	vip := f.assigned("freeze")
	f.fetched(vip)
	hung := f.owner(vip)
	hung.Freeze()
	f.Cleanup(func() { hung.Thaw(); f.settled() })
	f.eventually("another node answers", func() bool { return f.owner(vip) != hung })
	f.fetched(vip)
}

func TestOwnerIsTheOnlyNodeThatAnswers(t *testing.T) {
	f := setUp(t)
	var vips []string
	for _, name := range []string{"one", "two", "three", "four"} {
		f.create(service(name))
		vips = append(vips, f.assigned(name))
	}
	owners := map[string]*cluster.Node{}
	for _, vip := range vips {
		f.fetched(vip)
		owners[vip] = f.owner(vip)
	}
	for range 20 {
		for _, vip := range vips {
			macs, err := f.cluster.WhoHas(vip, 50*time.Millisecond)
			f.must(err)
			if !slices.Equal(macs, []string{owners[vip].MAC}) {
				f.Errorf("%v answer for %s, want its owner %s only", macs, vip, owners[vip].MAC)
			}
		}
	}
}

func TestARPRequestOfAnotherVLANIsNotAnswered(t *testing.T) {
	f := setUp(t)
	f.create(service("untagged"))
	vip := f.assigned("untagged")
	f.owner(vip)
	macs, err := f.cluster.WhoHas(vip, 300*time.Millisecond, 0x81, 0x00, 0x00, 30)
	f.must(err)
	if len(macs) > 0 {
		f.Errorf("%v answered", macs)
	}
}

func TestPartitionHealsWithOneOwner(t *testing.T) {
	f := setUp(t)
	f.create(service("split"))
	vip := f.assigned("split")
	f.fetched(vip)
	cut := f.owner(vip)
	f.must(f.cluster.Partition(cut))
	heal := sync.OnceFunc(func() { f.must(f.cluster.Heal()) })
	f.Cleanup(heal)
	f.eventually("another node answers", func() bool { return f.owner(vip) != cut })
	heal()
	f.settled()
	asker, err := f.cluster.Ask(vip, 10*time.Millisecond)
	f.must(err)
	defer asker.Stop()
	time.Sleep(2 * time.Second) // two nodes must never answer in these seconds
	if two := asker.TwoAnswered(time.Time{}); two > 0 {
		f.Errorf("two nodes answered for %v after all speakers had seen each other", two)
	}
	f.announcer(vip)
	f.fetched(vip)
}

func TestSpeakerHandsOverWhenItIsStopped(t *testing.T) {
	f := setUp(t)
	f.create(service("handover"))
	vip := f.assigned("handover")
	f.fetched(vip)
	old := f.owner(vip)
	probe, err := f.cluster.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	f.eventually("the probe runs", func() bool { return len(probe.Attempts(time.Time{})) > 50 })

	asker, err := f.cluster.Ask(vip, 10*time.Millisecond)
	f.must(err)
	defer asker.Stop()
	// The client has the old owner in its neighbour table, and would not notice a gap.
	// So this loop sends one ARP request after the other. Each must be answered.
	f.Cleanup(func() { f.must(old.StartSpeaker(context.Background())); f.settled() })
	ended := make(chan struct{})
	go func() { old.Speaker().Stop(); close(ended) }()
	for asked, over := 0, false; !over || asked < 20; asked++ {
		macs, err := f.cluster.WhoHas(vip, 20*time.Millisecond)
		f.must(err)
		if len(macs) == 0 {
			f.Errorf("no node answered request %d", asked)
		}
		select {
		case <-ended:
			over = true
		default:
		}
	}
	if code := old.Speaker().ExitCode(); code != 0 {
		f.Errorf("the speaker ended with exit status %d", code)
	}
	if !strings.Contains(old.Speaker().Log(), `msg="address handed over" vip=`+vip) {
		f.Errorf("the old owner did not hear the new owner:\n%s", old.Speaker().Log())
	}
	n := len(probe.Attempts(time.Time{}))
	f.eventually("100 more connections", func() bool { return len(probe.Attempts(time.Time{})) > n+100 })
	for _, a := range lost(probe, asker, time.Time{}) {
		f.Errorf("the request that began at %v failed after %v", a.Start, a.Took)
	}
	if now := f.owner(vip); now == old {
		f.Errorf("the old owner, %s, still answers", now.Name)
	}
}

func TestFlappingNodeDoesNotDisturbTheOwner(t *testing.T) {
	f := setUp(t)
	// Speakers count how often a member failed, and suppress members that failed too
	// often. Restarted speakers have not counted the failures of earlier tests.
	for _, n := range f.cluster.Nodes() {
		n.Speaker().Stop()
		f.must(n.StartSpeaker(context.Background()))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	}
	f.create(service("flap"))
	vip := f.assigned("flap")
	f.fetched(vip)
	other := f.owner(vip)
	node := f.cluster.Nodes()[0]
	if node == other {
		node = f.cluster.Nodes()[1]
	}
	for round := range 3 {
		f.must(node.Kill())
		f.Cleanup(func() { f.must(node.Revive()) })
		f.eventually("the owner detects that "+node.Name+" is dead", func() bool {
			text, err := other.Get(context.Background(), "/metrics")
			return err == nil && strings.Contains(text, "baremetal_members_alive 2\n")
		})
		f.must(node.Revive())
		// Without its link the speaker heard no other member. It must not announce anything
		// when the link is back, before it hears them again.
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			macs, err := f.cluster.WhoHas(vip, 20*time.Millisecond)
			f.must(err)
			if !slices.Equal(macs, []string{other.MAC}) {
				f.Fatalf("round %d: %v answer, want %s", round, macs, other.MAC)
			}
		}
		f.settled()
	}
}

func TestSpeakerWithoutAUsableLinkIsNotElected(t *testing.T) {
	f := setUp(t)
	f.create(service("blind"))
	vip := f.assigned("blind")
	f.fetched(vip)
	blind := f.owner(vip)
	blind.Speaker().Stop()
	f.Cleanup(func() {
		blind.Speaker().Stop()
		f.must(blind.StartSpeaker(context.Background()))
		f.settled()
	})
	f.must(blind.StartSpeaker(context.Background(), "--exclude-interfaces=.*"))
	for _, n := range f.cluster.Nodes() {
		f.eventually(n.Name+" sees that one of three members cannot announce", func() bool {
			text, err := n.Get(context.Background(), "/metrics")
			return err == nil && strings.Contains(text, "baremetal_members_alive 3\n") && strings.Contains(text, "baremetal_members_announcing 2\n")
		})
	}
	f.announcer(vip, blind)
	if now := f.owner(vip); now == blind {
		f.Errorf("the owner is %s", now.Name)
	}
	f.fetched(vip)
}

func TestLocalPolicyAnnouncesOnlyOnNodesWithEndpoints(t *testing.T) {
	f := setUp(t)
	f.runOn("local", "local", "node2")
	f.create(service("local", local("local")))
	vip := f.assigned("local")
	if page := f.fetched(vip); !strings.Contains(page, "Your address is 192.168.120.100.\n") {
		f.Errorf("the pod does not see the client's address: %s", page)
	}
	if now := f.owner(vip); now.Name != "node2" {
		f.Errorf("the owner is %s", now.Name)
	}
}

func TestTakeoverWithoutTheAPIServer(t *testing.T) {
	f := setUp(t)
	f.create(service("orphaned"))
	vip := f.assigned("orphaned")
	f.fetched(vip)
	for _, ccm := range f.cluster.CCMs() {
		ccm.MayEnd() // a leader that cannot renew its lease ends; usually the kubelet starts it again
	}
	f.cluster.APIServer.Stop()
	f.Cleanup(func() { f.restartControlPlane(); f.settled() })
	dead := f.owner(vip)
	f.must(dead.Kill())
	f.Cleanup(func() { f.must(dead.Revive()) })
	heir := f.owner(vip)
	if heir == dead {
		f.Errorf("the old owner, %s, still answers", heir.Name)
	}
	f.fetched(vip)
	// A speaker that starts now cannot read any Service. Its log says what it waits for.
	for _, n := range f.cluster.Nodes() {
		if n == dead || n == heir {
			continue
		}
		n.Speaker().Stop()
		f.must(n.StartSpeaker(context.Background()))
		before := len(n.Speaker().Log())
		f.eventually(n.Name+" logs that it waits", func() bool {
			return strings.Contains(n.Speaker().Log()[before:], "waiting at start")
		})
	}
	f.fetched(vip)
}
