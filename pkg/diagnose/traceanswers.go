package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

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
		t.add(t.foreign(mac, askers[mac]))
	}
}

// foreign is the problem of a host that answers and is not a node. A router with proxy ARP answers for
// all addresses that it has a route to by another link. So it does for an address that the nodes
// advertise to it over BGP, and on links that are not connected to the network of the address.
func (t *tracer) foreign(mac string, askers []string) Problem {
	p := Problem{Error, foreignHost, "address " + t.Address.String(), fmt.Sprintf("a host that is not a node of this cluster answers for it, with the MAC address %s, as seen from %s", mac, nodes(askers)),
		"look for this MAC address in the tables of the switches, and remove the address from that host"}
	if len(t.Services) == 0 {
		p.Do += ", or take the address out of the pool"
	}
	switch {
	case t.Protocol == "bgp":
		p.What += ". The address is for BGP only, so hosts do not ask for it"
	case t.onlyElsewhere(mac):
		p.What += ". It answers only on links that are not connected to the network of the address"
	default:
		return p
	}
	p.Severity = Warning
	p.Do = "if this is the MAC address of a router, it has proxy ARP, and all is well. Otherwise " + p.Do
	return p
}

// onlyElsewhere reports whether a host answers only on links that are not connected to a network with the
// address, although some link is.
func (t *tracer) onlyElsewhere(mac string) bool {
	connected := false
	for _, d := range t.answered() {
		for _, l := range d.Links {
			if !slices.ContainsFunc(l.Networks, func(n netip.Prefix) bool { return n.Contains(t.Address) }) {
				continue
			}
			connected = true
			if slices.ContainsFunc(l.Answers, func(a debugapi.Answer) bool { return a.MAC == mac }) {
				return false
			}
		}
	}
	return connected
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
			p.Severity = Warning // by the design of the Service the nodes may be kept out
			p.Do = "nothing, if loadBalancerSourceRanges of the Service or a NetworkPolicy keeps the nodes out. Otherwise look whether kube-proxy runs on these nodes, and whether the endpoints can be reached from there"
		default:
			p.Do = "look whether kube-proxy runs on these nodes, and for their routes: ip route get " + t.Address.String()
		}
		t.add(p)
	}
}
