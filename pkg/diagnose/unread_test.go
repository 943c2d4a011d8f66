package diagnose_test

import (
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// unread are the inputs, and what takes them away.
var unread = map[string]func(*diagnose.Input){
	"Services":       func(in *diagnose.Input) { in.Services = nil },
	"Nodes":          func(in *diagnose.Input) { in.Nodes = nil },
	"EndpointSlices": func(in *diagnose.Input) { in.EndpointSlices = nil },
	"DaemonSets of namespace baremetal-system":                  func(in *diagnose.Input) { in.DaemonSet = nil },
	"Lease baremetal-system/baremetal-cloud-controller-manager": func(in *diagnose.Input) { in.Lease = nil },
	"ConfigMap baremetal-system/config":                         func(in *diagnose.Input) { in.Config = nil },
	"ConfigMap baremetal-system/config-in-use":                  func(in *diagnose.Input) { in.InUse = nil },
	"Events": func(in *diagnose.Input) { in.Events = nil },
}

func worldWithout(what string) *diagnose.Input {
	in := world()
	unread[what](in)
	in.Unknown = []diagnose.Unknown{{What: what, Why: "forbidden"}}
	return in
}

func TestInputThatIsNotReadIsTheOnlyProblem(t *testing.T) {
	for what := range unread {
		s := diagnose.StatusOf(worldWithout(what))
		if len(s.Problems) != 1 || s.Problems[0].Reason != "Unknown" || s.Problems[0].Where != what || s.Problems[0].Severity != diagnose.Warning {
			t.Errorf("%s: %+v", what, s.Problems)
		}
		if len(s.Unread) != 1 || s.Unread[0] != what || len(s.Speakers) != 3 {
			t.Errorf("%s: %+v, and %d speakers", what, s.Unread, len(s.Speakers))
		}
	}
}

// What the speakers say does not need the Nodes.
func TestFaultsOfSpeakersAreNamedWithoutTheNodes(t *testing.T) {
	for reason, fault := range map[string]func(*diagnose.Input){
		"Fenced":             func(in *diagnose.Input) { in.Speakers[1].Plan.Fenced = "it hears no other speaker" },
		"ConfigDiffers":      func(in *diagnose.Input) { in.Speakers[1].Plan.Config.Hash = "another" },
		"SpeakerUnreachable": func(in *diagnose.Input) { in.Speakers[1] = diagnose.Speaker{Pod: in.Speakers[1].Pod, Problem: "no"} },
	} {
		in := worldWithout("Nodes")
		fault(in)
		s := diagnose.StatusOf(in)
		if len(s.Problems) != 2 || s.Problems[0].Reason != reason && s.Problems[1].Reason != reason {
			t.Errorf("%s: %+v", reason, s.Problems)
		}
	}
}

func TestManagersWordCountsWithoutTheConfigMap(t *testing.T) {
	in := worldWithout("ConfigMap baremetal-system/config")
	in.Managers[0].Allocations.Config.Problem = "line 4: adresses: unknown key"
	s := diagnose.StatusOf(in)
	if len(s.Problems) != 2 || s.Problems[0].Reason != "ConfigRefused" || !strings.Contains(s.Problems[0].What, "line 4") {
		t.Errorf("%+v", s.Problems)
	}
}

func TestServiceThatIsNotReadIsNotSaidToBeMissing(t *testing.T) {
	_, err := diagnose.ExplainService(worldWithout("Services"), "default/web")
	if err == nil || strings.Contains(err.Error(), "there is no Service") || !strings.Contains(err.Error(), "could not be read") || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("%v", err)
	}
}

func TestAddressIsNotCalledFreeWithoutTheServices(t *testing.T) {
	for name, test := range map[string]struct {
		addr   string
		change func(*diagnose.Input)
		want   string
	}{
		"in use, by the word of both":                {"192.0.2.1", func(*diagnose.Input) {}, "it is in use: by the word of the programs default/web has it"},
		"in use, by the word of the cluster manager": {"192.0.2.1", func(in *diagnose.Input) { in.Speakers = nil }, "default/web has it"},
		"in use, by the word of the speakers":        {"192.0.2.1", func(in *diagnose.Input) { in.Managers = nil }, "default/web has it"},
		"of a node": {"192.0.2.2", func(in *diagnose.Input) {
			in.Managers[0].Allocations.Reserved = []debugapi.ReservedAddress{{Address: netip.MustParseAddr("192.0.2.2"), Why: "an address of node node2"}}
		}, "it is an address of node node2"},
		"unknown": {"192.0.2.3", func(*diagnose.Input) {}, "not known, because the Services could not be read"},
	} {
		in := worldWithout("Services")
		test.change(in)
		if e := diagnose.ExplainAddress(in, netip.MustParseAddr(test.addr)); !strings.Contains(e.Address.What, test.want) || strings.Contains(e.Address.What, "no Service") {
			t.Errorf("%s: %s", name, e.Address.What)
		}
	}
}

func TestAddressIsNotCalledFreeWithoutALeader(t *testing.T) {
	in := world()
	in.Managers = nil
	if e := diagnose.ExplainAddress(in, netip.MustParseAddr("192.0.2.3")); !strings.Contains(e.Address.What, "whether it is free is not known") {
		t.Errorf("%s", e.Address.What)
	}
}

func TestClientsAreNotSaidToFailWithoutTheEndpoints(t *testing.T) {
	e, err := diagnose.ExplainService(worldWithout("EndpointSlices"), "default/web")
	if err != nil || e.Services[0].Addresses[0].Clients != "hosts of the segment send to node node1; whether a pod is ready is not known" || !e.Services[0].Endpoints.Unknown {
		t.Errorf("%+v %v", e, err)
	}
}

// A kubelet that has never reported, and a Node object that was deleted, do not hide a speaker.
func TestSpeakerWithoutItsNodeIsShown(t *testing.T) {
	in := world()
	in.Nodes = append(in.Nodes[:2:2], &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node9", Labels: map[string]string{v1.LabelOSStable: "windows"}}})
	if s := diagnose.StatusOf(in); len(s.Speakers) != 3 || len(s.Problems) != 0 {
		t.Errorf("%+v", s)
	}
}
