package integration

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestAClientGetsThePageOverIPv4AndIPv6(t *testing.T) {
	create(t, service("dual", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
	vips := strings.Split(assigned(t, "dual"), ",")
	if len(vips) != 2 {
		t.Fatalf("got %v", vips)
	}
	for _, vip := range vips {
		fetched(t, vip)
	}
	for _, i := range get(t, "dual").Status.LoadBalancer.Ingress {
		if i.IPMode == nil || *i.IPMode != v1.LoadBalancerIPModeVIP {
			t.Errorf("%s has ipMode %v", i.IP, i.IPMode)
		}
	}
	event(t, "Service", "dual", "Announced", vips[0])
}

func TestWhenTheOwnerDiesAnotherNodeAnswers(t *testing.T) {
	for _, family := range []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		t.Run(string(family), func(t *testing.T) {
			create(t, service("failover", families(v1.IPFamilyPolicySingleStack, family)))
			vip := assigned(t, "failover")
			fetched(t, vip)
			dead := announcer(t, vip)
			must(t, dead.Kill())
			t.Cleanup(func() { must(t, dead.Revive()); settled(t) })
			announcer(t, vip, dead)
			fetched(t, vip)
		})
	}
}

func TestWhenTheOwnerHangsAnotherNodeAnswers(t *testing.T) {
	create(t, service("freeze"))
	vip := assigned(t, "freeze")
	fetched(t, vip)
	hung := owner(t, vip)
	hung.Freeze()
	t.Cleanup(func() { hung.Thaw(); settled(t) })
	eventually(t, "another node answers", func() bool { return owner(t, vip) != hung })
	fetched(t, vip)
}

func TestNoTwoNodesAnswerForOneAddress(t *testing.T) {
	var vips []string
	for _, name := range []string{"one", "two", "three", "four"} {
		create(t, service(name))
		vips = append(vips, assigned(t, name))
	}
	owners := map[string]*cluster.Node{}
	for _, vip := range vips {
		fetched(t, vip)
		owners[vip] = owner(t, vip)
	}
	for range 20 {
		for _, vip := range vips {
			macs, err := the.WhoHas(vip, 50*time.Millisecond)
			must(t, err)
			if !slices.Equal(macs, []string{owners[vip].MAC}) {
				t.Errorf("%s is answered for by %v, its owner is %s", vip, macs, owners[vip].MAC)
			}
		}
	}
}

func TestAQuestionOfAnotherVLANIsNotAnswered(t *testing.T) {
	create(t, service("untagged"))
	vip := assigned(t, "untagged")
	owner(t, vip)
	macs, err := the.WhoHas(vip, 300*time.Millisecond, 0x81, 0x00, 0x00, 30)
	must(t, err)
	if len(macs) > 0 {
		t.Errorf("%v answered", macs)
	}
}

func TestAPartitionHealsWithOneOwner(t *testing.T) {
	create(t, service("split"))
	vip := assigned(t, "split")
	fetched(t, vip)
	cut := owner(t, vip)
	must(t, the.Partition(cut))
	heal := sync.OnceFunc(func() { must(t, the.Heal()) })
	t.Cleanup(heal)
	eventually(t, "another node answers", func() bool { return owner(t, vip) != cut })
	heal()
	settled(t)
	asker, err := the.Ask(vip, 10*time.Millisecond)
	must(t, err)
	defer asker.Stop()
	time.Sleep(2 * time.Second) // of which every moment counts
	if two := asker.TwoAnswered(time.Time{}); two > 0 {
		t.Errorf("two answered for %v after all have seen each other", two)
	}
	announcer(t, vip)
	fetched(t, vip)
}

func TestASpeakerThatIsAskedToEndHandsOver(t *testing.T) {
	create(t, service("handover"))
	vip := assigned(t, "handover")
	fetched(t, vip)
	old := owner(t, vip)
	probe, err := the.StartProbe(vip)
	must(t, err)
	defer probe.Stop()
	eventually(t, "the probe runs", func() bool { return len(probe.Attempts(time.Time{})) > 50 })

	asker, err := the.Ask(vip, 10*time.Millisecond)
	must(t, err)
	defer asker.Stop()
	// A client that has the old owner in its neighbour table would notice nothing;
	// so somebody asks anew all the time, and must be answered each time.
	t.Cleanup(func() { must(t, old.StartSpeaker(context.Background())); settled(t) })
	ended := make(chan struct{})
	go func() { old.Speaker().Stop(); close(ended) }()
	for asked, over := 0, false; !over || asked < 20; asked++ {
		macs, err := the.WhoHas(vip, 20*time.Millisecond)
		must(t, err)
		if len(macs) == 0 {
			t.Errorf("nobody answered question %d", asked)
		}
		select {
		case <-ended:
			over = true
		default:
		}
	}
	if code := old.Speaker().ExitCode(); code != 0 {
		t.Errorf("the speaker ended with %d", code)
	}
	if !strings.Contains(old.Speaker().Log(), `msg="handed over" vip=`+vip) {
		t.Errorf("the old owner did not hear the new one:\n%s", old.Speaker().Log())
	}
	n := len(probe.Attempts(time.Time{}))
	eventually(t, "the probe goes on", func() bool { return len(probe.Attempts(time.Time{})) > n+100 })
	for _, a := range lost(probe, asker, time.Time{}) {
		t.Errorf("a request failed that was begun at %v, after %v", a.Start, a.Took)
	}
	if now := owner(t, vip); now == old {
		t.Errorf("%s still answers", now.Name)
	}
}

func TestANodeWhoseLinkIsCutAgainAndAgainNeverDisturbsTheOthers(t *testing.T) {
	// Speakers that start anew remember no deaths of earlier tests, and rank decides.
	for _, n := range the.Nodes() {
		n.Speaker().Stop()
		must(t, n.StartSpeaker(context.Background()))
		must(t, n.WaitReady(context.Background()))
		settled(t)
	}
	create(t, service("flap"))
	vip := assigned(t, "flap")
	fetched(t, vip)
	other := owner(t, vip)
	node := the.Nodes()[0]
	if node == other {
		node = the.Nodes()[1]
	}
	for round := range 3 {
		must(t, node.Kill())
		t.Cleanup(func() { must(t, node.Revive()) })
		eventually(t, node.Name+" is missed", func() bool {
			text, err := other.Get(context.Background(), "/metrics")
			return err == nil && strings.Contains(text, "baremetal_members_alive 2\n")
		})
		must(t, node.Revive())
		// Cut off it believed to own everything; it must not say so to anybody.
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			macs, err := the.WhoHas(vip, 20*time.Millisecond)
			must(t, err)
			if !slices.Equal(macs, []string{other.MAC}) {
				t.Fatalf("round %d: %v answer, want %s", round, macs, other.MAC)
			}
		}
		settled(t)
	}
}

func TestASpeakerWithoutAUsableLinkIsNotElected(t *testing.T) {
	create(t, service("blind"))
	vip := assigned(t, "blind")
	fetched(t, vip)
	blind := owner(t, vip)
	blind.Speaker().Stop()
	t.Cleanup(func() {
		blind.Speaker().Stop()
		must(t, blind.StartSpeaker(context.Background()))
		settled(t)
	})
	must(t, blind.StartSpeaker(context.Background(), "--exclude-interfaces=.*"))
	for _, n := range the.Nodes() {
		eventually(t, n.Name+" knows of the speaker that is silent", func() bool {
			text, err := n.Get(context.Background(), "/metrics")
			return err == nil && strings.Contains(text, "baremetal_members_alive 3\n") && strings.Contains(text, "baremetal_members_announcing 2\n")
		})
	}
	announcer(t, vip, blind)
	if now := owner(t, vip); now == blind {
		t.Errorf("%s answers", now.Name)
	}
	fetched(t, vip)
}

func TestLocalIsAnnouncedOnlyWhereAnEndpointIs(t *testing.T) {
	_, err := the.Kubectl(t.Context(), "run", "local", "--image=web", "--labels=app=local", `--overrides={"spec":{"nodeName":"node2"}}`)
	must(t, err)
	t.Cleanup(func() { kubectl(t, "delete", "pod", "local", "--ignore-not-found") })
	create(t, service("local", func(s *v1.Service) {
		s.Spec.Selector = map[string]string{"app": "local"}
		s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
	}))
	vip := assigned(t, "local")
	if page := fetched(t, vip); !strings.Contains(page, "you are 192.168.120.100 to me") {
		t.Errorf("the pod does not see the client's address: %s", page)
	}
	if now := owner(t, vip); now.Name != "node2" {
		t.Errorf("%s answers", now.Name)
	}
}

func TestSpeakersFailOverWithoutTheAPIServer(t *testing.T) {
	create(t, service("orphaned"))
	vip := assigned(t, "orphaned")
	fetched(t, vip)
	for _, ccm := range the.CCMs() {
		ccm.MayEnd() // a leader that cannot renew its lease ends, for the kubelet to start it again
	}
	the.APIServer.Stop()
	t.Cleanup(func() { restartControlPlane(t); settled(t) })
	dead := owner(t, vip)
	must(t, dead.Kill())
	t.Cleanup(func() { must(t, dead.Revive()) })
	heir := owner(t, vip)
	if heir == dead {
		t.Errorf("%s still answers", heir.Name)
	}
	fetched(t, vip)
	// One that starts now can know nothing, and says so.
	for _, n := range the.Nodes() {
		if n == dead || n == heir {
			continue
		}
		n.Speaker().Stop()
		must(t, n.StartSpeaker(context.Background()))
		before := len(n.Speaker().Log())
		eventually(t, n.Name+" says that it waits", func() bool {
			return strings.Contains(n.Speaker().Log()[before:], "waiting for the API server")
		})
	}
	fetched(t, vip)
}

// restartControlPlane starts the API server again, and CCMs instead of those
// that have ended, as a kubelet would.
func restartControlPlane(t *testing.T) {
	ctx := context.Background()
	must(t, the.StartAPIServer())
	eventually(t, "the API server", func() bool {
		_, err := the.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil
	})
	restartCCMs(t)
}
