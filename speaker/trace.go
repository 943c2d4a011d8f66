package speaker

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/trace"
)

// trace answers who has an address, asked from this node.
func (w *web) trace(rw http.ResponseWriter, r *http.Request, s reconcile.Subject) {
	asked, tcp := s.Links[:min(len(s.Links), trace.MaxLinks)], tcpPorts(s.Ports)
	target := trace.Target{Addr: s.Addr, Ports: tcp[:min(len(tcp), trace.MaxPorts)]}
	for _, l := range asked {
		target.Links = append(target.Links, trace.Link{Link: layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}, Source: sourceOn(l, s.Addr)})
	}
	found := trace.Run(r.Context(), target)

	d := debugapi.Trace{
		Header: debugapi.NewHeader(debugapi.TraceKind, w.options.Version, time.Now()), Address: s.Addr,
		Services: s.Decision.Services, Pool: s.Pool, Protocol: s.Protocol, Owner: s.Decision.Owner, Reason: string(s.Decision.Reason),
		Local: found.Local, Links: []debugapi.TraceLink{}, LinksOmitted: len(s.Links) - len(asked), PortsOmitted: len(tcp) - len(target.Ports),
	}
	d.Node = w.node
	if s.Decision.Reason == plan.Owner {
		d.Announces = s.Decision.Links
	}
	for i, l := range asked {
		link := debugapi.TraceLink{Link: l.Name, MAC: macText(l.MAC), Networks: l.Networks}
		for _, h := range found.Holders[i] {
			a := debugapi.Answer{MAC: macText(h.MAC), Node: s.Nodes[h.MAC]}
			if h.Source != h.MAC {
				a.Source = macText(h.Source)
			}
			link.Answers = append(link.Answers, a)
		}
		if err := found.Errors[i]; err != nil {
			link.Problem = err.Error()
		}
		d.Links = append(d.Links, link)
	}
	for _, n := range found.Neighbors {
		d.Neighbors = append(d.Neighbors, debugapi.Neighbor{Link: n.Link, MAC: macText(n.MAC), State: n.State, Node: s.Nodes[n.MAC]})
	}
	if found.KernelError != nil {
		d.NeighborsProblem = found.KernelError.Error()
	}
	d.Connections = connections(s.Ports, target.Ports, found.Connections)
	if err := debugapi.Write(rw, r, d); err != nil {
		w.log.Debug("a debug page was not read to its end", "path", r.URL.Path, "error", err)
	}
}

func tcpPorts(all []plan.Port) (ports []uint16) {
	for _, p := range all {
		if p.Protocol == protocolTCP {
			ports = append(ports, p.Number)
		}
	}
	return ports
}

const (
	protocolTCP  = 6
	protocolUDP  = 17
	protocolSCTP = 132
)

// sourceOn returns the address of a link from which a client would ask; the zero Addr for none.
func sourceOn(l links.Link, addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return l.IPv4.Addr()
	}
	return l.IPv6.Addr()
}

// connections returns what came of the connections to the tried ports, and the ports of other
// protocols, which were not tried.
func connections(all []plan.Port, tried []uint16, found []trace.Connection) (list []debugapi.Connection) {
	outcomes := map[trace.Outcome]string{
		trace.Open: debugapi.Open, trace.Refused: debugapi.Refused, trace.NoAnswer: debugapi.NoAnswer, trace.Unreachable: debugapi.Unreachable,
	}
	for i, port := range tried {
		c := debugapi.Connection{Protocol: "TCP", Port: port, Outcome: outcomes[found[i].Outcome], Milliseconds: found[i].Took.Milliseconds()}
		if found[i].Error != nil {
			c.Problem = found[i].Error.Error()
		}
		list = append(list, c)
	}
	for _, p := range all {
		if p.Protocol == protocolTCP || len(list) == 2*trace.MaxPorts {
			continue
		}
		name := strconv.Itoa(int(p.Protocol))
		switch p.Protocol {
		case protocolUDP:
			name = "UDP"
		case protocolSCTP:
			name = "SCTP"
		}
		list = append(list, debugapi.Connection{Protocol: name, Port: p.Number, Outcome: debugapi.NotTried})
	}
	return list
}

func macText(mac [6]byte) string { return net.HardwareAddr(mac[:]).String() }
