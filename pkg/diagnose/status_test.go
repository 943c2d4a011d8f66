package diagnose_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

func TestHealthyClusterHasNoProblems(t *testing.T) {
	s := diagnose.StatusOf(world())
	if len(s.Problems) != 0 {
		t.Errorf("%+v", s.Problems)
	}
	if !s.Config.InUse || s.Config.Pools != 1 || s.Config.Peers != 1 || s.Config.ResourceVersion != 7 {
		t.Errorf("%+v", s.Config)
	}
	if n := s.Speakers[0]; len(s.Speakers) != 3 || n.State != "ok" || n.Config != "in use" || n.MembersHeard != 2 || n.Members != 2 || len(n.Addresses) != 1 || n.SessionsUp != 1 {
		t.Errorf("%+v", n)
	}
	if !s.Managers[0].Leader || s.Managers[1].Leader || s.Services.Served != 1 || len(s.Sessions) != 3 || len(s.Pools) != 1 {
		t.Errorf("%+v", s)
	}
}

// broken are clusters with one fault each, and the problem that the status must name first.
var broken = map[string]struct {
	fault    func(*diagnose.Input)
	severity diagnose.Severity
	reason   string
	where    string
	what, do string
}{
	"typo in the ConfigMap": {
		func(in *diagnose.Input) {
			in.Config.Data["config"] = strings.Replace(goodConfig, "addresses", "adresses", 1)
			in.Managers[0].Allocations.Config.Problem = "line 4"
		}, diagnose.Error, "ConfigRefused", "ConfigMap baremetal-system/config", "adresses: unknown key", "check-config",
	},
	"no ConfigMap": {
		func(in *diagnose.Input) { in.Config = nil }, diagnose.Error, "ConfigMissing", "ConfigMap baremetal-system/config", "does not exist", "Create it",
	},
	"no speaker on a node": {
		func(in *diagnose.Input) { in.Speakers = in.Speakers[:2] }, diagnose.Error, "NoSpeaker", "node node3", "no speaker runs there", "describe daemonset",
	},
	"no speaker on a tainted node": {
		func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.Nodes[2].Spec.Taints = []v1.Taint{{Key: "gpu", Effect: v1.TaintEffectNoSchedule}}
			in.DaemonSet.Spec.Template.Spec.Tolerations = []v1.Toleration{{Operator: v1.TolerationOpExists}}
		}, diagnose.Error, "NoSpeaker", "node node3", "", "describe daemonset",
	},
	"no speaker on a cordoned node": {
		func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.Nodes[2].Spec.Taints = []v1.Taint{{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}}
		}, diagnose.Error, "NoSpeaker", "node node3", "", "describe daemonset",
	},
	"no speaker, and the DaemonSet is not read": {
		func(in *diagnose.Input) {
			in.Speakers, in.DaemonSet = in.Speakers[:2], nil
			in.Unknown = []diagnose.Unknown{{What: "DaemonSets of namespace baremetal-system", Why: "forbidden"}}
		}, diagnose.Warning, "Unknown", "DaemonSets of namespace baremetal-system", "forbidden", "",
	},
	"no leader, by the lease alone": {
		func(in *diagnose.Input) {
			in.Managers = in.Managers[:1]
			in.Managers[0] = diagnose.Manager{Pod: in.Managers[0].Pod, Silent: true}
			in.Lease.Spec.RenewTime = ptr(metav1.NewMicroTime(now.Add(-5 * time.Minute)))
		}, diagnose.Error, "NoLeader", "cluster manager", "expired 4m45s ago", "logs",
	},
	"no speaker on a dead node": {
		func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.Nodes[2].Status.Conditions = nil
		}, diagnose.Warning, "NoSpeaker", "node node3", "the node is not ready", "Repair the node",
	},
	"a speaker that crashes": {
		func(in *diagnose.Input) {
			in.Speakers[1].Pod.Status.Conditions = nil
			in.Speakers[1].Pod.Status.ContainerStatuses = []v1.ContainerStatus{{RestartCount: 4, State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
				LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: "OOMKilled"}}}}
		}, diagnose.Error, "SpeakerNotReady", "node node2", "CrashLoopBackOff, the last end was OOMKilled", "--previous",
	},
	"a speaker that is not reached": {
		func(in *diagnose.Input) {
			s := &in.Speakers[1]
			s.Problem, s.Plan, s.BGP, s.Spread, s.Members = "no answer within 5s", nil, nil, nil, nil
		}, diagnose.Warning, "SpeakerUnreachable", "node node2", "no answer within 5s", "pods/portforward",
	},
	"a speaker with another configuration": {
		func(in *diagnose.Input) { in.Speakers[2].Plan.Config.Hash = "other" }, diagnose.Error, "ConfigDiffers", "node node3", "another configuration", "its log",
	},
	"a cluster manager with another configuration": {
		func(in *diagnose.Input) {
			in.Managers[0].Allocations.Config.Hash = "old"
			for i := range in.Speakers {
				in.Speakers[i].Plan.Config.Hash = "old"
			}
		}, diagnose.Warning, "ConfigDiffers", "cluster manager", "does not use the present content", "",
	},
	"another key": {
		func(in *diagnose.Input) {
			in.Speakers[0].Members.Members = in.Speakers[0].Members.Members[:1]
			rejects(in, "node1", "192.0.2.103", 3*time.Second)
		}, diagnose.Error, "KeyRejected", "node node1", "rejects what node node3 sends, because it is made with another key", "Secret memberlist",
	},
	"another key, and speakers that wait": {
		func(in *diagnose.Input) {
			for i, s := range in.Speakers[:2] {
				s.Pod.Status.Conditions = nil
				in.Speakers[i].Members.Members = in.Speakers[i].Members.Members[:1]
				in.Speakers[i].Plan.Fenced = "it waits for the speakers of the other nodes to start"
				rejects(in, s.Node(), "192.0.2.103", 3*time.Second)
			}
		}, diagnose.Error, "KeyRejected", "nodes node1, node2", "node node3", "Restart the speakers",
	},
	"a firewall on a node that fences itself": {
		func(in *diagnose.Input) {
			in.Speakers[1].Plan.Fenced = "no member is reached"
			for i := range in.Speakers {
				for j, m := range in.Speakers[i].Members.Members {
					in.Speakers[i].Members.Members[j].Heard = m.Name != "node2"
				}
			}
		}, diagnose.Error, "MembersNotHeard", "nodes node1, node3", "knows the speakers of node node2", "7947",
	},
	"port 7946 blocked": {
		func(in *diagnose.Input) { in.Speakers[0].Members.Members = nil }, diagnose.Error, "MembersMissing", "node node1", "does not find the speakers of nodes node2, node3", "7946",
	},
	"port 7947 blocked": {
		func(in *diagnose.Input) {
			for i := range in.Speakers {
				for j := range in.Speakers[i].Members.Members {
					in.Speakers[i].Members.Members[j].Heard = false
				}
			}
		}, diagnose.Error, "MembersNotHeard", "node node1", "hears no heartbeats", "7947",
	},
	"a fenced speaker": {
		func(in *diagnose.Input) { in.Speakers[1].Plan.Fenced = "it hears no other speaker" }, diagnose.Error, "Fenced", "node node2", "announces nothing by layer 2: it hears no other speaker", "7946 and 7947",
	},
	"a suppressed speaker": {
		func(in *diagnose.Input) { in.Speakers[1].Plan.Suppressed = "it failed too often in the last minutes" }, diagnose.Warning, "Suppressed", "node node2", "failed too often", "cause",
	},
	"no leader": {
		func(in *diagnose.Input) {
			in.Managers[0].Allocations = &debugapi.Allocations{}
			in.Lease.Spec.RenewTime = ptr(metav1.NewMicroTime(now.Add(-time.Minute)))
		}, diagnose.Error, "NoLeader", "cluster manager", "the lease of ccm-1_x expired 45s ago", "logs",
	},
	"no cluster manager": {
		func(in *diagnose.Input) { in.Managers = nil }, diagnose.Error, "NoManager", "cluster manager", "no pod of it was found in namespace baremetal-system", "--config-map",
	},
	"full pool": {
		func(in *diagnose.Input) {
			pending(in, &debugapi.Waiting{Why: `pool "a" is exhausted (16 of 16 in use)`, Advice: "Add addresses to a pool"})
		}, diagnose.Error, "Waiting", "Service default/web", "exhausted (16 of 16 in use)", "Add addresses to a pool",
	},
	"no pool matches": {
		func(in *diagnose.Input) {
			pending(in, &debugapi.Waiting{Why: "every pool is for other namespaces or Services"})
		}, diagnose.Error, "Waiting", "Service default/web", "every pool is for other namespaces", "of each pool",
	},
	"waiting, by the word of the condition": {
		func(in *diagnose.Input) {
			pending(in, nil)
			in.Managers[0].Allocations.Services = nil
			in.Services[0].Status.Conditions = []metav1.Condition{{Type: "lb.baremetal/Allocated", Status: "False", Reason: "NoPool", Message: "no pool has IPv6 addresses"}}
		}, diagnose.Error, "Waiting", "Service default/web", "no pool has IPv6 addresses", "",
	},
	"no ready pod": {
		func(in *diagnose.Input) { in.EndpointSlices = nil }, diagnose.Error, "NoEndpoints", "Service default/web", "no pod of it is ready", "get pods -l app=web",
	},
	"policy Local without a pod on a candidate": {
		func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Owner, d.Candidates, d.Reason = "", nil, "NoEndpoint"
				d.Excluded = []debugapi.Excluded{{Node: "node3", Why: "the traffic policy is Local, and it has no ready endpoint"}}
			})
		}, diagnose.Error, "NoEndpoint", "Service default/web", "externalTrafficPolicy is Local", "May announce: node3",
	},
	"label that excludes all nodes": {
		func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Owner, d.Candidates, d.Reason = "", nil, "NoCandidate"
				d.Excluded = []debugapi.Excluded{{Node: "node1", Why: "it has the label node.kubernetes.io/exclude-from-external-load-balancers"}}
			})
		}, diagnose.Error, "NoCandidate", "Service default/web", "no node may announce it", "node1: it has the label",
	},
	"no link": {
		func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Owner, d.Candidates, d.Reason, d.Network = "", nil, "NoLink", netip.MustParsePrefix("192.0.2.0/24")
			})
		}, diagnose.Error, "NoLink", "Service default/web", "has a link for it in its network 192.0.2.0/24", "Check the links",
	},
	"a foreign host has the address": {
		func(in *diagnose.Input) {
			decide(in, func(node string, d *debugapi.Decision) {
				if node == "node1" {
					d.Reason, d.Foreign = "Conflict", "02:00:00:00:00:09"
				}
			})
		}, diagnose.Error, "Conflict", "Service default/web", "a foreign host with the MAC address 02:00:00:00:00:09 has it", "remove the address from it",
	},
	"a withheld address": {
		func(in *diagnose.Input) {
			in.Services[0].Status = v1.ServiceStatus{}
			in.Managers[0].Allocations.Services[0].Withheld = []debugapi.ReservedAddress{{Address: netip.MustParseAddr("192.0.2.1"), Why: "used by a host that is no node"}}
		}, diagnose.Error, "AddressWithheld", "Service default/web", "192.0.2.1 is given to it, but it is used by a host", "Remove the address from that host",
	},
	"two owners": {
		func(in *diagnose.Input) {
			decide(in, func(node string, d *debugapi.Decision) {
				if node == "node3" {
					d.Reason, d.Owner = "Owner", "node3"
				}
			})
		}, diagnose.Error, "TwoOwners", "Service default/web", "nodes node1, node3 at the same time", "7946 and 7947",
	},
	"wrong BGP password": {
		func(in *diagnose.Input) {
			in.Speakers[1].BGP.Sessions[0] = debugapi.Session{Peer: "tor", Address: netip.MustParseAddr("192.0.2.254"), State: "ACTIVE", Problem: "192.0.2.254 port 179 does not answer: the router is unreachable, or the password differs"}
		}, diagnose.Error, "BGPSessionDown", "node node2", "no BGP session with tor (192.0.2.254), state ACTIVE", "Compare the password",
	},
	"BFD down": {
		func(in *diagnose.Input) {
			in.Speakers[1].BGP.Sessions[0].BFD = &debugapi.BFD{State: "Down", Problem: "nothing was received"}
		}, diagnose.Warning, "BFDDown", "node node2", "BFD is Down: nothing was received", "UDP 3784",
	},
	"spread falls back": {
		func(in *diagnose.Input) {
			in.Speakers[0].Spread = &debugapi.Spread{VIPs: []debugapi.SpreadVIP{{VIP: netip.MustParseAddr("192.0.2.1"), Services: []string{"default/web"}, Owner: "node1", Reason: "MixedPolicies"}}}
		}, diagnose.Warning, "NotSpread", "address 192.0.2.1 of default/web", "both values of externalTrafficPolicy", "the same externalTrafficPolicy",
	},
	"a node cannot spread": {
		func(in *diagnose.Input) {
			in.Speakers[1].Spread = &debugapi.Spread{Obstacle: "operation not permitted", VIPs: []debugapi.SpreadVIP{{VIP: netip.MustParseAddr("192.0.2.1"), Owner: "node1", Reason: "Spread"}}}
		}, diagnose.Warning, "CannotSpread", "node node2", "operation not permitted", "",
	},
	"the kernel of a node refuses the rules": {
		func(in *diagnose.Input) {
			in.Speakers[1].Spread = &debugapi.Spread{RulesProblem: "writing the tables: message too long", VIPs: []debugapi.SpreadVIP{{VIP: netip.MustParseAddr("192.0.2.1"), Owner: "node1", Reason: "Spread"}}}
		}, diagnose.Warning, "SpreadRulesRefused", "node node2", "writing the tables: message too long", "log of the speaker",
	},
	"an address outside the pools": {
		func(in *diagnose.Input) {
			in.Managers[0].Allocations.Services[0].Orphans = []debugapi.ReservedAddress{{Address: netip.MustParseAddr("192.0.2.1"), Why: "192.0.2.1 is in no pool"}}
		}, diagnose.Warning, "OutsidePools", "Service default/web", "192.0.2.1 is in no pool", "into a pool",
	},
	"not advertised": {
		func(in *diagnose.Input) {
			decide(in, func(node string, d *debugapi.Decision) {
				d.Protocol, d.Reason, d.BGP, d.Owner = "bgp", "NotLayer2", "NoPeer", ""
				if node == "node2" {
					d.BGP = "NotSelected"
				}
			})
		}, diagnose.Error, "NotAdvertised", "Service default/web", "nodes node1, node3: no peer is configured for the node; node node2: the node-selectors", "BGP sessions",
	},
	"the only router that gets the route is down": {
		func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Protocol, d.Reason, d.BGP, d.Owner = "bgp", "NotLayer2", "Advertised", ""
			})
			for _, s := range in.Speakers {
				s.BGP.Sessions = append(s.BGP.Sessions, debugapi.Session{Peer: "tor2", Address: netip.MustParseAddr("192.0.2.253"), State: "ACTIVE"})
				s.BGP.Routes[0].Peers = []string{"tor2"}
			}
		}, diagnose.Error, "BGPSessionDown", "nodes node1, node2, node3", "no BGP session with tor2", "",
	},
	"different versions": {
		func(in *diagnose.Input) { in.Speakers[1].Plan.ProgramVersion = "v9" }, diagnose.Warning, "VersionsDiffer", "programs", "v9: speaker of node2", "upgrade",
	},
	"missing rights": {
		func(in *diagnose.Input) {
			in.EndpointSlices, in.Unknown = nil, []diagnose.Unknown{{What: "EndpointSlices", Why: "forbidden"}}
		}, diagnose.Warning, "Unknown", "EndpointSlices", "forbidden", "more rights",
	},
}

func TestStatusNamesEachFaultAndWhatToDo(t *testing.T) {
	for name, test := range broken {
		t.Run(name, func(t *testing.T) {
			in := world()
			test.fault(in)
			s := diagnose.StatusOf(in)
			if len(s.Problems) == 0 {
				t.Fatal("no problem was found")
			}
			p := s.Problems[0]
			if p.Severity != test.severity || p.Reason != test.reason || p.Where != test.where || !strings.Contains(p.What, test.what) || !strings.Contains(p.Do, test.do) {
				t.Errorf("got %+v", s.Problems)
			}
			if p.Do == "" {
				t.Error("it does not say what to do")
			}
		})
	}
}
