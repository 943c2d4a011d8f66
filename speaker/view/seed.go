package view

import (
	"net"
	"net/netip"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// SpreadLinks returns the links as the next speakers should read them, none if this node cannot hand
// flows on.
func SpreadLinks(all []links.Link, can bool) (published []configmap.SpreadLink) {
	if !can {
		return nil
	}
	for _, l := range all {
		macs := []string{net.HardwareAddr(l.MAC[:]).String()}
		for _, port := range l.Ports {
			macs = append(macs, net.HardwareAddr(port[:]).String())
		}
		published = append(published, configmap.SpreadLink{Name: l.Name, MACs: macs, IPv4: l.IPv4, IPv6: l.IPv6})
	}
	return published
}

// seed adds the nodes whose speakers have said that they hand flows on. If all speakers are restarted at
// once, the first of them has seen no other member yet, but the kernels of the nodes have connections. For a
// node that is no member any more, the time counts from when another speaker has written that it left.
func (d *departed) seed(now time.Time, self string, nodes map[string]configmap.NodeLinks) {
	d.self, d.last = self, map[string]lastSeen{}
	for name, node := range nodes {
		at := now
		if !node.Left.IsZero() && node.Left.Before(now) { // the clock of the other node may be ahead
			at = node.Left
		}
		if name == self || now.Sub(at) >= departedMemory {
			continue
		}
		var profile members.Profile
		for _, l := range node.Spread {
			if link, ok := linkOf(l, node.Networks[l.Name]); ok {
				profile.Links = append(profile.Links, link)
			}
		}
		if profile.Spreads = len(profile.Links) > 0; profile.Spreads {
			d.last[name] = lastSeen{member: members.Member{Name: name, Profile: profile}, at: at, isBehind: true}
		}
	}
}

// linkOf returns a published link as a profile has it, and whether it can be read.
func linkOf(l configmap.SpreadLink, networks []netip.Prefix) (link members.Link, ok bool) {
	link = members.Link{Name: l.Name, IPv4: l.IPv4, IPv6: l.IPv6, Networks: networks}
	for i, text := range l.MACs {
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != len(link.MAC) {
			return members.Link{}, false
		}
		if i == 0 {
			link.MAC = [6]byte(mac)
		} else {
			link.Ports = append(link.Ports, [6]byte(mac))
		}
	}
	return link, len(l.MACs) > 0
}
