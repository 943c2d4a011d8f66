package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

const foreignMAC = "02:00:00:00:00:cc"

// tracedCluster is a cluster of three nodes on one network, of which node2 announces the address, and in which
// nothing is wrong. change changes what the nodes have found.
func tracedCluster(change func(nodes map[string]*TracedNode)) Trace {
	network := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	nodes := map[string]*TracedNode{}
	for _, name := range []string{"node1", "node2", "node3"} {
		d := &debugapi.Trace{
			Services: []string{"default/web"}, Pool: "main", Protocol: "layer2", Owner: "node2", Reason: "OtherOwner",
			Links: []debugapi.TraceLink{{Link: "eth0", MAC: macOf(name), Networks: network, Answers: []debugapi.Answer{{MAC: macOf("node2"), Node: "node2"}}}},
			Connections: []debugapi.Connection{
				{Protocol: "TCP", Port: 80, Outcome: debugapi.Open}, {Protocol: "UDP", Port: 53, Outcome: debugapi.NotTried},
			},
		}
		d.Node = name
		if name == "node2" {
			d.Reason, d.Announces, d.Links[0].Answers = "Owner", []string{"eth0"}, nil
		}
		nodes[name] = &TracedNode{Node: name, Found: d}
	}
	if change != nil {
		change(nodes)
	}
	return NewTrace(netip.MustParseAddr("192.0.2.7"), []TracedNode{*nodes["node1"], *nodes["node2"], *nodes["node3"]})
}

func macOf(node string) string { return "02:00:00:00:00:0" + node[4:] }

// alsoAnswers makes a host answer to the questions of node1.
func alsoAnswers(nodes map[string]*TracedNode, a debugapi.Answer) {
	l := &nodes["node1"].Found.Links[0]
	l.Answers = append(l.Answers, a)
}

func TestTraceOfAHealthyAddressHasNoProblem(t *testing.T) {
	got := tracedCluster(nil)
	if len(got.Problems) > 0 || got.Problems == nil || !slices.Equal(got.Owners, []string{"node2"}) || got.Pool != "main" || got.Protocol != "layer2" || len(got.Services) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTraceNamesEachProblemAndWhatToDo(t *testing.T) {
	each := func(nodes map[string]*TracedNode, f func(*debugapi.Trace)) {
		for _, n := range nodes {
			f(n.Found)
		}
	}
	for name, test := range map[string]struct {
		change                    func(map[string]*TracedNode)
		severity                  Severity
		reason, where, what, todo string
	}{
		"kube-proxy ipvs without strictARP": {func(n map[string]*TracedNode) {
			alsoAnswers(n, debugapi.Answer{MAC: macOf("node3"), Node: "node3"})
			n["node3"].Found.Local = []string{"kube-ipvs0"}
		}, Error, secondAnswerer, "node node3", "kube-proxy with ipvs", "strictARP: true"},
		"a node with the address on an interface": {func(n map[string]*TracedNode) {
			alsoAnswers(n, debugapi.Answer{MAC: macOf("node3"), Node: "node3"})
			n["node3"].Found.Local = []string{"eth0"}
		}, Error, secondAnswerer, "node node3", "its interface eth0 has the address, as seen from node node1", "ip address del 192.0.2.7/32 dev eth0"},
		"another load balancer on a node": {func(n map[string]*TracedNode) {
			alsoAnswers(n, debugapi.Answer{MAC: macOf("node3"), Node: "node3"})
		}, Error, secondAnswerer, "node node3", "no interface has the address", "another load balancer"},
		"a foreign host": {func(n map[string]*TracedNode) {
			alsoAnswers(n, debugapi.Answer{MAC: foreignMAC})
		}, Error, foreignHost, "address 192.0.2.7", "not a node of this cluster answers for it, with the MAC address " + foreignMAC, "tables of the switches"},
		"a foreign host with an address of no Service": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) {
				d.Services, d.Protocol, d.Owner, d.Reason, d.Announces, d.Links[0].Answers, d.Connections = nil, "", "", "", nil, nil, nil
			})
			alsoAnswers(n, debugapi.Answer{MAC: foreignMAC})
		}, Error, foreignHost, "address 192.0.2.7", "not a node", "out of the pool"},
		"two speakers that do not hear each other": {func(n map[string]*TracedNode) {
			alsoAnswers(n, debugapi.Answer{MAC: macOf("node3"), Node: "node3"})
			n["node3"].Found.Announces = []string{"eth0"}
		}, Error, severalOwners, "address 192.0.2.7", "nodes node2, node3 announce it", "7946 and 7947"},
		"a node whose switch filters ARP": {func(n map[string]*TracedNode) {
			n["node1"].Found.Links[0].Answers = nil
		}, Error, noAnswer, "node node1", "no answer of node node2", "port security"},
		"an owner that nobody hears": {func(n map[string]*TracedNode) {
			n["node1"].Found.Links[0].Answers, n["node3"].Found.Links[0].Answers = nil, nil
		}, Error, noAnswer, "node node2", "no other node on its network gets an answer", "firewall"},
		"nobody announces": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) {
				d.Owner, d.Reason, d.Announces, d.Links[0].Answers = "", "NoEndpoint", nil, nil
			})
		}, Error, noAnnouncement, "address 192.0.2.7", "no node announces it: NoEndpoint (nodes node1, node2, node3)", "explain 192.0.2.7"},
		"a stale entry": {func(n map[string]*TracedNode) {
			n["node1"].Found.Neighbors = []debugapi.Neighbor{{Link: "eth0", MAC: macOf("node3"), State: "stale"}}
		}, Warning, staleNeighbor, "node node1", "(node node3) as the neighbor 192.0.2.7 on eth0, but node node2 announces", "ip neigh del 192.0.2.7 dev eth0"},
		"a permanent entry": {func(n map[string]*TracedNode) {
			n["node1"].Found.Neighbors = []debugapi.Neighbor{{Link: "eth0", MAC: foreignMAC, State: "permanent"}}
		}, Warning, staleNeighbor, "node node1", "(not a node of this cluster)", "is permanent"},
		"a port that all nodes refuse": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) { d.Connections[0].Outcome = debugapi.Refused })
		}, Error, failedConnection, "nodes node1, node2, node3", "192.0.2.7:80 ended with: refused", "no ready endpoint"},
		"a node without kube-proxy": {func(n map[string]*TracedNode) {
			n["node3"].Found.Connections[0].Outcome = debugapi.NoAnswer
		}, Warning, failedConnection, "node node3", "no answer", "kube-proxy"},
		"a node without a route": {func(n map[string]*TracedNode) {
			n["node3"].Found.Connections[0].Outcome = debugapi.Unreachable
		}, Warning, failedConnection, "node node3", "unreachable", "ip route get"},
		"a speaker that says nothing": {func(n map[string]*TracedNode) {
			n["node1"].Found, n["node1"].Problem = nil, "no answer within 5s"
		}, Warning, notTraced, "node node1", "no answer within 5s", "status"},
		"a link that is down": {func(n map[string]*TracedNode) {
			n["node1"].Found.Links = append(n["node1"].Found.Links, debugapi.TraceLink{Link: "eth1", MAC: "x", Problem: "network is down"})
		}, Warning, linkNotAsked, "node node1", "network is down", "eth1"},
		"BGP, and a node answers ARP": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) {
				d.Protocol, d.Owner, d.Reason, d.Announces, d.Links[0].Answers = "bgp", "", "NotLayer2", nil, nil
			})
			alsoAnswers(n, debugapi.Answer{MAC: macOf("node3"), Node: "node3"})
			n["node3"].Found.Local = []string{"kube-ipvs0"}
		}, Warning, secondAnswerer, "node node3", "for BGP only", "strictARP"},
		"BGP, and a router answers": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) {
				d.Protocol, d.Owner, d.Reason, d.Announces, d.Links[0].Answers = "bgp", "", "NotLayer2", nil, nil
			})
			alsoAnswers(n, debugapi.Answer{MAC: foreignMAC})
		}, Warning, foreignHost, "address 192.0.2.7", "is for BGP only", "it has proxy ARP, and all is well. Otherwise look for"},
		"a router answers on another VLAN": {func(n map[string]*TracedNode) {
			n["node1"].Found.Links = append(n["node1"].Found.Links, debugapi.TraceLink{
				Link: "vlan7", MAC: "02:00:00:00:07:01", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Answers: []debugapi.Answer{{MAC: foreignMAC}},
			})
		}, Warning, foreignHost, "address 192.0.2.7", "not connected to the network", "proxy ARP"},
		"a foreign host, and no node is connected to the network": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) {
				d.Links[0].Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			})
			alsoAnswers(n, debugapi.Answer{MAC: foreignMAC})
		}, Error, foreignHost, "address 192.0.2.7", "not a node of this cluster", "remove the address"},
		"source ranges that do not have the nodes": {func(n map[string]*TracedNode) {
			each(n, func(d *debugapi.Trace) { d.Connections[0].Outcome = debugapi.NoAnswer })
		}, Warning, failedConnection, "nodes node1, node2, node3", "192.0.2.7:80 ended with: no answer", "nothing, if loadBalancerSourceRanges"},
	} {
		got := tracedCluster(test.change)
		if len(got.Problems) != 1 {
			t.Errorf("%s: %d problems: %+v", name, len(got.Problems), got.Problems)
			continue
		}
		p := got.Problems[0]
		if p.Severity != test.severity || p.Reason != test.reason || p.Where != test.where || !strings.Contains(p.What, test.what) || !strings.Contains(p.Do, test.todo) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestTraceKnowsAnOwnerWhoseSpeakerSaysNothing(t *testing.T) {
	got := tracedCluster(func(n map[string]*TracedNode) { n["node2"].Found, n["node2"].Problem = nil, "no answer" })
	if len(got.Problems) != 1 || got.Problems[0].Reason != notTraced || !slices.Equal(got.Owners, []string{"node2"}) {
		t.Errorf("%v %+v", got.Owners, got.Problems)
	}
}

func TestTraceOfOneNodeCannotAskTheOwner(t *testing.T) {
	all := tracedCluster(nil)
	if got := NewTrace(all.Address, all.Nodes[1:2]); len(got.Problems) > 0 {
		t.Errorf("%+v", got.Problems)
	}
}

func TestTraceOfAFreeAddressHasNoProblem(t *testing.T) {
	got := tracedCluster(func(n map[string]*TracedNode) {
		for _, node := range n {
			d := node.Found
			d.Services, d.Protocol, d.Owner, d.Reason, d.Announces, d.Links[0].Answers, d.Connections = nil, "", "", "", nil, nil, nil
		}
	})
	if len(got.Problems) > 0 {
		t.Errorf("%+v", got.Problems)
	}
}
