package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
)

var watchedVIP = netip.MustParseAddr("192.0.2.1")

// twoNodes are the pods of a cluster in which the node a has an address. After it has died it does
// not answer, and the node b has the address.
type twoNodes struct {
	mu    sync.Mutex
	died  bool
	asked map[string]int
}

// askedOf returns how often a pod was asked.
func (n *twoNodes) askedOf(pod string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[pod]
}

func (n *twoNodes) get(ctx context.Context, pod *v1.Pod, _ uint16, paths ...string) (answers [][]byte, err error) {
	n.mu.Lock()
	died := n.died
	n.asked[pod.Name]++
	n.mu.Unlock()
	if died && pod.Name == "speaker-a" {
		time.Sleep(podTimeout)
		return nil, errNoAnswer(podTimeout)
	}
	owner, other := "a", map[string]string{"a": "b", "b": "a"}[pod.Spec.NodeName]
	if died {
		owner = "b"
	}
	decision := debugapi.Decision{VIP: watchedVIP, Services: []string{"shop/web"}, Pool: "lan", Protocol: "layer2", Owner: owner, Reason: "OtherOwner"}
	if owner == pod.Spec.NodeName {
		decision.Reason = "Owner"
	}
	for _, path := range paths {
		var document any
		switch header := func(kind string) debugapi.Header { return debugapi.NewHeader(kind, "v1", time.Now()) }; path {
		case debugapi.PlanPath + "?" + debugapi.WithoutState:
			document = debugapi.Plan{Header: header(debugapi.PlanKind), Decisions: []debugapi.Decision{decision}}
		case debugapi.BGPPath:
			document = debugapi.BGP{Header: header(debugapi.BGPKind)}
		case debugapi.SpreadPath:
			document = debugapi.Spread{Header: header(debugapi.SpreadKind)}
		case debugapi.MembersPath:
			document = debugapi.Members{Header: header(debugapi.MembersKind), Members: []debugapi.Member{{Name: other, Alive: !died}}}
		case debugapi.AllocationsPath:
			document = debugapi.Allocations{Header: header(debugapi.AllocationsKind), Leader: true, Adopted: true, Pools: []debugapi.Pool{{Name: "lan", Total: 8, Assigned: 1}}}
		}
		text, err := json.Marshal(document)
		if err != nil {
			return nil, err
		}
		answers = append(answers, text)
	}
	return answers, nil
}

func (n *twoNodes) objects() (objects []runtime.Object) {
	namespace := newOptions(genericiooptions.IOStreams{}).configMap.Namespace
	pod := func(name, node, program string) {
		objects = append(objects, &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)},
			Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Command: []string{"/" + program}}}},
		})
	}
	for _, node := range []string{"a", "b"} {
		objects = append(objects, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}})
		pod("speaker-"+node, node, speakerProgram)
	}
	pod("manager", "b", managerProgram)
	return append(objects, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer},
		Status: v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: watchedVIP.String()}}}},
	})
}

func TestUIShowsANodeThatDiesWithoutWaitingForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &twoNodes{asked: map[string]int{}}
		ctx, cancel := context.WithCancel(t.Context())
		source := newUISource(ctx, newOptions(genericiooptions.IOStreams{}), fake.NewClientset(cluster.objects()...), cluster)
		defer source.wait()
		defer cancel()
		var last ui.Picture
		var report ui.Report
		look := func() (texts []string) {
			t.Helper()
			var err error
			if report, err = source.Look(ctx); err != nil {
				t.Fatal(err)
			}
			picture, _ := ui.Draw(report)
			if !last.Time.IsZero() {
				for _, m := range ui.Moves(last, picture) {
					texts = append(texts, m.Text)
				}
			}
			last = picture
			return texts
		}
		expect := func(when string, states string, owner string) {
			t.Helper()
			var got []string
			for _, n := range last.Nodes {
				got = append(got, fmt.Sprintf("%s %s", n.Name, n.State))
			}
			if text := strings.Join(got, ", "); text != states {
				t.Errorf("%s: nodes %s, want %s", when, text, states)
			}
			if a := last.Addresses; len(a) != 1 || len(a[0].Places) != 1 || a[0].Places[0].Node != owner {
				t.Errorf("%s: addresses %+v, want one on %s", when, a, owner)
			}
		}

		if _, err := source.Explain(ctx, watchedVIP); err == nil {
			t.Error("an explanation before the first look")
		}
		look()
		expect("at first", "a up, b up", "a")
		if len(last.Pools) != 1 {
			t.Errorf("pools %+v", last.Pools)
		}
		text, err := source.Explain(ctx, watchedVIP)
		if err != nil || !strings.Contains(text, "Service shop/web") || !strings.Contains(text, "Owner:      a") {
			t.Errorf("the explanation: %v\n%s", err, text)
		}

		cluster.mu.Lock()
		cluster.died = true
		cluster.mu.Unlock()
		time.Sleep(uiInterval)
		began := time.Now()
		moves := look()
		expect("after the death", "a dead, b up", "b")
		if took := time.Since(began); took > patience {
			t.Errorf("the look took %v", took)
		}
		for _, p := range report.Problems {
			if strings.Contains(p.What, "at the same time") {
				t.Errorf("after the death, the old word of the dead node is a problem: %s", p.What)
			}
		}
		if len(moves) != 2 || moves[1] != "192.0.2.1 moved from a to b" {
			t.Errorf("moves %q", moves)
		}
		began = time.Now()
		for range 20 {
			look()
			time.Sleep(uiInterval)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("20 looks took %v", took)
		}
		expect("20 s later", "a dead, b up", "b")
		if a, b := cluster.askedOf("speaker-a"), cluster.askedOf("speaker-b"); b < 20 || a > 8 {
			t.Errorf("a was asked %d times, b %d times", a, b)
		}

		cluster.mu.Lock()
		cluster.died = false
		cluster.mu.Unlock()
		for range 2 {
			time.Sleep(podTimeout)
			look()
		}
		expect("after it is back", "a up, b up", "a")
	})
}

func TestDeadSpeakerIsForgottenOnlyIfNobodyHearsIt(t *testing.T) {
	speaker := func(node string, hears ...string) diagnose.Speaker {
		s := diagnose.Speaker{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: v1.PodSpec{NodeName: node}}, Members: &debugapi.Members{}}
		for _, other := range hears {
			s.Members.Members = append(s.Members.Members, debugapi.Member{Name: other, Alive: true})
		}
		return s
	}
	for name, test := range map[string]struct {
		speakers []diagnose.Speaker
		late     map[string]bool
		known    bool
	}{
		"in time":                             {[]diagnose.Speaker{speaker("a"), speaker("b")}, nil, true},
		"late, and heard":                     {[]diagnose.Speaker{speaker("a"), speaker("b", "a"), speaker("c")}, map[string]bool{"a": true}, true},
		"late, and not heard":                 {[]diagnose.Speaker{speaker("a"), speaker("b"), speaker("c")}, map[string]bool{"a": true}, false},
		"late, and heard by a late one":       {[]diagnose.Speaker{speaker("a"), speaker("b", "a"), speaker("c")}, map[string]bool{"a": true, "b": true}, false},
		"all are late":                        {[]diagnose.Speaker{speaker("a"), speaker("b")}, map[string]bool{"a": true, "b": true}, true},
		"late, and there is no other speaker": {[]diagnose.Speaker{speaker("a")}, map[string]bool{"a": true}, true},
	} {
		in := &diagnose.Input{Speakers: test.speakers}
		forgetDead(in, test.late)
		if got := in.Speakers[0]; (got.Members != nil) != test.known || (got.Problem == "") != test.known {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// slowPorts are pods whose answers take long.
type slowPorts struct {
	*twoNodes
	takes time.Duration
}

func (p slowPorts) get(ctx context.Context, pod *v1.Pod, port uint16, paths ...string) ([][]byte, error) {
	time.Sleep(p.takes)
	return p.twoNodes.get(ctx, pod, port, paths...)
}

// A speaker with a large document over a slow link sends half of the time at most, and is no fault.
func TestSlowSpeakerIsAskedWithPausesAndStaysKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &twoNodes{asked: map[string]int{}}
		ctx, cancel := context.WithCancel(t.Context())
		source := newUISource(ctx, newOptions(genericiooptions.IOStreams{}), fake.NewClientset(cluster.objects()...), slowPorts{cluster, 10 * time.Second})
		defer source.wait()
		defer cancel()
		for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(uiInterval) {
			report, err := source.Look(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if time.Since(began) < 15*time.Second {
				continue // the first answers
			}
			for _, s := range report.Speakers {
				if s.Err != "" || s.Plan == nil {
					t.Fatalf("after %v: %+v", time.Since(began), s)
				}
			}
		}
		if n := cluster.askedOf("speaker-a"); n < 4 || n > 7 {
			t.Errorf("it was asked %d times in two minutes", n)
		}
	})
}
