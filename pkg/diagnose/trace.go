package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// Trace says who answers for an address, and who should.
type Trace struct {
	Address netip.Addr `json:"address"`
	// Services, Pool and Protocol are as in a Decision of a plan.
	Services []string `json:"services"`
	Pool     string   `json:"pool,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	// Owners are the nodes that announce the address by layer 2. There should be one at most.
	Owners []string `json:"owners"`
	// Nodes are in the order of their names.
	Nodes    []TracedNode `json:"nodes"`
	Problems []Problem    `json:"problems"`
}

// TracedNode is what one node has found out.
type TracedNode struct {
	Node string `json:"node"`
	// Problem says why nothing was found out; empty if something was.
	Problem string          `json:"problem,omitempty"`
	Found   *debugapi.Trace `json:"found,omitempty"`
}

// The reasons of the problems of a Trace.
const (
	notTraced        = "NotTraced"
	linkNotAsked     = "LinkNotAsked"
	severalOwners    = "TwoOwners"
	noAnnouncement   = "NoAnnouncement"
	secondAnswerer   = "SecondAnswerer"
	foreignHost      = "ForeignHost"
	noAnswer         = "NoAnswer"
	staleNeighbor    = "StaleNeighbor"
	failedConnection = "FailedConnection"
)

// ipvsInterface is the interface on which kube-proxy with ipvs has the addresses of all Services.
const ipvsInterface = "kube-ipvs0"

// NewTrace compares what the nodes have found out about an address with what should be the case.
func NewTrace(addr netip.Addr, nodes []TracedNode) Trace {
	t := tracer{Trace: Trace{Address: addr, Services: []string{}, Owners: []string{}, Nodes: nodes}, macs: map[string]string{}}
	t.read()
	t.checkSpeakers()
	t.checkOwners()
	t.checkAnswers()
	t.checkOwnerAnswers()
	t.checkNeighbors()
	t.checkConnections()
	t.Problems = byUrgency(t.Problems)
	return t.Trace
}

// tracer makes a Trace.
type tracer struct {
	Trace
	macs map[string]string // the node of each MAC address
}

func (t *tracer) add(p Problem) { t.Problems = append(t.Problems, p) }

// found returns what a node has found out; nil for nothing.
func (t *tracer) found(node string) *debugapi.Trace {
	for _, n := range t.Nodes {
		if n.Node == node {
			return n.Found
		}
	}
	return nil
}

// answered returns the documents.
func (t *tracer) answered() (all []*debugapi.Trace) {
	for _, n := range t.Nodes {
		if n.Found != nil {
			all = append(all, n.Found)
		}
	}
	return all
}

// read fills what the documents agree on, and the owners. A speaker that does not answer may be
// the owner; then the other speakers say so.
func (t *tracer) read() {
	said := map[string]bool{}
	for _, d := range t.answered() {
		if len(d.Services) > 0 {
			t.Services = d.Services
		}
		if t.Pool == "" {
			t.Pool = d.Pool
		}
		if t.Protocol == "" {
			t.Protocol = d.Protocol
		}
		if len(d.Announces) > 0 {
			t.Owners = append(t.Owners, d.Node)
		} else if d.Owner != "" && t.found(d.Owner) == nil {
			said[d.Owner] = true
		}
		for _, l := range d.Links {
			t.macs[l.MAC] = d.Node
		}
	}
	for owner := range said {
		t.Owners = append(t.Owners, owner)
	}
	slices.Sort(t.Owners)
	for _, d := range t.answered() { // a speaker that does not answer is known to the others
		for _, l := range d.Links {
			for _, a := range l.Answers {
				if t.macs[a.MAC] == "" {
					t.macs[a.MAC] = a.Node
				}
			}
		}
		for _, n := range d.Neighbors {
			if t.macs[n.MAC] == "" {
				t.macs[n.MAC] = n.Node
			}
		}
	}
}

func (t *tracer) isOwner(node string) bool { return slices.Contains(t.Owners, node) }

func (t *tracer) isLayer2() bool { return t.Protocol == "layer2" || t.Protocol == "both" }

func (t *tracer) checkSpeakers() {
	var missing grouped
	for _, n := range t.Nodes {
		switch {
		case n.Found == nil:
			missing.add(n.Node, Problem{Severity: Warning, Reason: notTraced, What: "the speaker found out nothing: " + n.Problem, Do: "kubectl baremetal status says what is wrong with the speaker"})
			continue
		case n.Found.NeighborsProblem != "":
			missing.add(n.Node, Problem{Severity: Warning, Reason: notTraced, What: "the kernel's tables could not be read: " + n.Found.NeighborsProblem, Do: "run the command again"})
		}
		for _, l := range n.Found.Links {
			if l.Problem != "" {
				missing.add(n.Node, Problem{Severity: Warning, Reason: linkNotAsked, What: "the speaker could not ask on the link: " + l.Problem, Do: "look at the link: ip link show " + l.Link})
			}
		}
	}
	t.Problems = append(t.Problems, missing.problems()...)
}

func (t *tracer) checkOwners() {
	switch {
	case len(t.Owners) > 1:
		t.add(Problem{Error, severalOwners, "address " + t.Address.String(), fmt.Sprintf("%s announce it at the same time", nodes(t.Owners)),
			"if the address has just moved, run the command again. Otherwise these speakers do not hear each other: look at kubectl baremetal status, and open the ports 7946 and 7947 between the nodes"})
	case len(t.Owners) == 0 && t.isLayer2() && len(t.answered()) > 0:
		t.add(Problem{Error, noAnnouncement, "address " + t.Address.String(), "no node announces it: " + t.reasons(), "kubectl baremetal explain " + t.Address.String() + " says why"})
	}
}

// reasons returns what the nodes say, each reason once.
func (t *tracer) reasons() string {
	by := map[string][]string{}
	var order []string
	for _, d := range t.answered() {
		if by[d.Reason] == nil {
			order = append(order, d.Reason)
		}
		by[d.Reason] = append(by[d.Reason], d.Node)
	}
	var texts []string
	for _, reason := range order {
		text := reason
		if text == "" {
			text = "unknown"
		}
		texts = append(texts, fmt.Sprintf("%s (%s)", text, nodes(by[reason])))
	}
	return strings.Join(texts, ", ")
}

// checkAnswers finds the hosts that answer although they should not.
func (t *tracer) checkAnswers() {
	askers := map[string][]string{} // by MAC address
	var order []string
	for _, d := range t.answered() {
		for _, l := range d.Links {
			for _, a := range l.Answers {
				if t.isOwner(t.macs[a.MAC]) {
					continue
				}
				if askers[a.MAC] == nil {
					order = append(order, a.MAC)
				}
				if !slices.Contains(askers[a.MAC], d.Node) {
					askers[a.MAC] = append(askers[a.MAC], d.Node)
				}
			}
		}
	}
	for _, mac := range order {
		if node := t.macs[mac]; node != "" {
			t.add(t.secondNode(node, mac, askers[mac]))
			continue
		}
		do := "look for this MAC address in the tables of the switches, and remove the address from that host"
		if len(t.Services) == 0 {
			do += ", or take the address out of the pool"
		}
		t.add(Problem{Error, foreignHost, "address " + t.Address.String(), fmt.Sprintf("a host that is not a node of this cluster answers for it, with the MAC address %s, as seen from %s", mac, nodes(askers[mac])), do})
	}
}

// secondNode is the problem of a node that answers although it does not announce the address.
func (t *tracer) secondNode(node, mac string, askers []string) Problem {
	p := Problem{Severity: Error, Reason: secondAnswerer, Where: "node " + node}
	what := fmt.Sprintf("the node answers for %s with the MAC address %s, but it should not", t.Address, mac)
	if t.Protocol == "bgp" {
		p.Severity, what = Warning, fmt.Sprintf("the node answers for %s on its link with the MAC address %s, but the address is for BGP only", t.Address, mac)
	}
	seen := ", as seen from " + nodes(askers)
	d := t.found(node)
	switch {
	case d == nil:
		p.What, p.Do = what+seen, "the speaker of the node says nothing. Repair it first: kubectl baremetal status"
	case slices.Contains(d.Local, ipvsInterface):
		p.What = what + ": kube-proxy with ipvs has the address on " + ipvsInterface + seen
		p.Do = "set ipvs.strictARP: true in the configuration of kube-proxy, and restart kube-proxy on all nodes"
	case len(d.Local) > 0:
		p.What, p.Do = fmt.Sprintf("%s: its interface %s has the address%s", what, strings.Join(d.Local, ", "), seen), "remove the address from the interface: ip address del "+t.prefix()+" dev "+d.Local[0]
	default:
		p.What = what + ", and no interface has the address" + seen
		p.Do = "if the address has just moved, run the command again. Otherwise look for another load balancer on the node, and for proxy_arp in sysctl -a"
	}
	return p
}

// prefix returns the address with the length of its prefix.
func (t *tracer) prefix() string { return netip.PrefixFrom(t.Address, t.Address.BitLen()).String() }

// checkOwnerAnswers finds the nodes that get no answer of the owner although they are connected
// to its network.
func (t *tracer) checkOwnerAnswers() {
	if len(t.Owners) != 1 || t.found(t.Owners[0]) == nil {
		return
	}
	owner := t.found(t.Owners[0])
	var networks []netip.Prefix
	for _, l := range owner.Links {
		if slices.Contains(owner.Announces, l.Link) {
			networks = append(networks, l.Networks...)
		}
	}
	var deaf []string
	asked := 0
	for _, d := range t.answered() {
		if d == owner {
			continue
		}
		near, heard := false, false
		for _, l := range d.Links {
			near = near || l.Problem == "" && slices.ContainsFunc(l.Networks, func(n netip.Prefix) bool { return slices.Contains(networks, n) })
			heard = heard || slices.ContainsFunc(l.Answers, func(a debugapi.Answer) bool { return t.macs[a.MAC] == owner.Node })
		}
		if !near {
			continue
		}
		if asked++; !heard {
			deaf = append(deaf, d.Node)
		}
	}
	if len(deaf) == 0 {
		return
	}
	p := Problem{Error, noAnswer, nodes(deaf), fmt.Sprintf("no answer of node %s, which announces %s, although both are connected to the same network", owner.Node, t.Address),
		"look for what filters ARP and NDP between these nodes: a firewall on the node, VLANs, the port security of a hypervisor or a switch"}
	if len(deaf) == asked {
		p.Where, p.What = "node "+owner.Node, fmt.Sprintf("the node announces %s, but no other node on its network gets an answer", t.Address)
	}
	t.add(p)
}

// checkNeighbors finds nodes whose kernel sends to another host than the owner.
func (t *tracer) checkNeighbors() {
	if len(t.Owners) != 1 {
		return // nobody knows what is right
	}
	for _, d := range t.answered() {
		for _, n := range d.Neighbors {
			at := t.macs[n.MAC]
			if t.isOwner(at) {
				continue
			}
			if at == "" {
				at = "not a node of this cluster"
			} else {
				at = "node " + at
			}
			p := Problem{Warning, staleNeighbor, "node " + d.Node, fmt.Sprintf("the kernel has %s (%s) as the neighbor %s on %s, but node %s announces the address", n.MAC, at, t.Address, n.Link, t.Owners[0]),
				fmt.Sprintf("remove the entry on the node: ip neigh del %s dev %s. If it comes again, another host answers", t.Address, n.Link)}
			if n.State == "permanent" {
				p.Do = fmt.Sprintf("the entry is permanent: find what has set it, and remove it: ip neigh del %s dev %s", t.Address, n.Link)
			}
			t.add(p)
		}
	}
}

// checkConnections finds the ports to which nodes cannot connect.
func (t *tracer) checkConnections() {
	type attempt struct {
		port    uint16
		outcome string
	}
	var order []attempt
	failed := map[attempt][]string{}
	for _, d := range t.answered() {
		for _, c := range d.Connections {
			if c.Outcome == debugapi.Open || c.Outcome == debugapi.NotTried {
				continue
			}
			a := attempt{c.Port, c.Outcome}
			if failed[a] == nil {
				order = append(order, a)
			}
			failed[a] = append(failed[a], d.Node)
		}
	}
	for _, a := range order {
		p := Problem{Severity: Warning, Reason: failedConnection, Where: nodes(failed[a]), What: fmt.Sprintf("a connection to %s ended with: %s", netip.AddrPortFrom(t.Address, a.port), a.outcome)}
		if len(failed[a]) == len(t.answered()) {
			p.Severity = Error
		}
		switch a.outcome {
		case debugapi.Refused:
			p.Do = "the Service has no ready endpoint, or its pods do not listen at the target port: kubectl baremetal explain " + t.Address.String()
		case debugapi.NoAnswer:
			p.Do = "look whether kube-proxy runs on these nodes, whether the endpoints can be reached from there, and whether a NetworkPolicy or loadBalancerSourceRanges keeps the nodes out"
		default:
			p.Do = "look whether kube-proxy runs on these nodes, and for their routes: ip route get " + t.Address.String()
		}
		t.add(p)
	}
}
