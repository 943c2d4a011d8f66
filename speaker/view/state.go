package view

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// The member list says which speakers exist, the heartbeats say which of them are alive,
// and the links say on which segments. The functions of this file combine the three.
// They are pure.

// Self is what this speaker has concluded about itself.
type Self struct {
	// Fenced says why it must not announce; empty if it may.
	Fenced string
	// Starting is set while it is fenced only because it waits for the others to start.
	Starting bool
	// Rejoining is set while it is fenced because it looks for the other members.
	Rejoining bool
	// Suppressed says why other nodes are preferred to this one; empty if they are not.
	Suppressed string
	// SaysSuppressed is what this speaker tells the other members. It ends before Suppressed
	// does, so that the old owners stop announcing before this speaker begins.
	SaysSuppressed bool
	// Returned is set if it could not announce for a while, and has come back a short time ago.
	Returned bool
	// Unready is set until this node can send traffic to pods.
	Unready bool
	// Advertises is set if it has an established BGP session.
	Advertises bool
	// CannotSpread says why it cannot hand flows on to other nodes; empty if it can.
	CannotSpread string
	// SaysSpreads is what this speaker tells the other members: it can, and its kernel has the rules.
	SaysSpreads bool
	// HandsOn is set if its kernel hands segments on. The rules may be those of the speaker before.
	HandsOn bool
}

// State returns the state for a plan. conflicts are the VIPs that this node does not
// announce because a foreign host has them, with the MAC addresses of these hosts.
func State(in Inputs, beats heartbeat.View, self Self, conflicts map[netip.Addr]string) plan.State {
	return plan.State{
		Node: in.Node, Config: in.Config, Earlier: in.Earlier, Orphans: in.Orphans, NothingPublished: in.NothingPublished, Services: in.Services, Nodes: in.Nodes,
		NodeAddrs: nodeAddrs(in),
		Members:   candidates(in, beats, self), Holders: holders(in, beats, self), CannotSpread: self.CannotSpread, Networks: in.Networks, Fenced: self.Fenced, Suppressed: self.Suppressed, Unready: self.Unready, Conflicts: conflicts,
		Addrs: in.Addrs, Interfaces: interfaces(in.AllLinks), Routers: in.Routers,
	}
}

// Profile returns what this speaker tells the other members about itself.
func Profile(in Inputs, beats heartbeat.View, self Self) members.Profile {
	p := members.Profile{Fenced: self.Fenced != "", Advertises: self.Advertises, Spreads: self.SaysSpreads, HandsOn: self.HandsOn, Suppressed: self.SaysSuppressed, Returned: self.Returned, Starting: self.Starting}
	for _, l := range in.Links {
		p.Links = append(p.Links, members.Link{Name: l.Name, MAC: l.MAC, IPv4: l.IPv4, IPv6: l.IPv6, Networks: l.Networks, Ports: l.Ports})
	}
	return p
}

// candidates returns the members that may announce, this speaker included.
func candidates(in Inputs, beats heartbeat.View, self Self) (candidates []plan.Member) {
	if self.Fenced == "" {
		told := members.Told(Profile(in, beats, self))
		candidates = append(candidates, plan.Member{
			Name: in.Node, Suppressed: self.Suppressed != "", Advertises: self.Advertises, Spreads: told.Spreads,
			Segments: segments(told, func(l members.Link) bool { return beats.FencedLinks[l.Name] }),
		})
	}
	for _, o := range in.Others {
		// A member that only waits for the others to start begins at the same time as this one.
		if isLost(o, beats) || o.Profile.Fenced && !o.Profile.Starting || o.Profile.Leaving {
			continue
		}
		// A link without heartbeats is as alive as its node.
		allDead := isDeadEverywhere(in, o, beats)
		candidates = append(candidates, plan.Member{
			Name: o.Name, Suppressed: o.Profile.Suppressed, Advertises: o.Profile.Advertises, Spreads: o.Profile.Spreads,
			Segments: segments(o.Profile, func(l members.Link) bool { return allDead || isDeadOn(l, o, beats) }),
		})
	}
	return candidates
}

// nodeAddrs returns the addresses that nodes have: those of the Nodes, of this node's links
// and of the other members' links.
func nodeAddrs(in Inputs) map[netip.Addr]string {
	addrs := make(map[netip.Addr]string, len(in.NodeAddrs)+len(in.Others))
	for _, o := range in.Others {
		for _, l := range o.Profile.Links {
			for _, p := range []netip.Prefix{l.IPv4, l.IPv6} {
				if p.IsValid() {
					addrs[p.Addr()] = o.Name
				}
			}
		}
	}
	for _, l := range in.AllLinks {
		for _, p := range l.Addrs {
			addrs[p.Addr()] = in.Node
		}
	}
	maps.Copy(addrs, in.NodeAddrs)
	return addrs
}

// isLost reports whether a member was declared dead and has not been heard since then.
func isLost(o members.Member, beats heartbeat.View) bool {
	return o.Lost && !slices.Contains(beats.Returned, o.Name)
}

// IsAlive reports whether a member was not declared dead, and is heard on at least one path.
func IsAlive(in Inputs, o members.Member, beats heartbeat.View) bool {
	return !isLost(o, beats) && !isDeadEverywhere(in, o, beats)
}

func interfaces(ls []links.Link) []plan.Interface {
	interfaces := make([]plan.Interface, len(ls))
	for i, l := range ls {
		interfaces[i] = plan.Interface{Name: l.Name, IPv4: l.IPv4, IPv6: l.IPv6, Addrs: l.Addrs}
	}
	return interfaces
}

// MembersByMAC returns the members by the MAC addresses of their links, this one included.
// If two members have the same MAC address, the one that is not lost counts.
func MembersByMAC(in Inputs, beats heartbeat.View) map[[6]byte]layer2.Member {
	byMAC := map[[6]byte]layer2.Member{}
	for _, l := range in.AllLinks {
		for _, mac := range append([][6]byte{l.MAC}, l.Ports...) {
			byMAC[mac] = layer2.Member{Name: in.Node, Self: true}
		}
	}
	for _, o := range in.Others {
		lost := isLost(o, beats)
		for _, l := range o.Profile.Links {
			for _, mac := range append([][6]byte{l.MAC}, l.Ports...) {
				if before, taken := byMAC[mac]; !taken || !lost && !before.Self {
					byMAC[mac] = layer2.Member{Name: o.Name, Lost: lost}
				}
			}
		}
	}
	return byMAC
}

// withNewestProfiles returns the members with the newest profiles that they have told. The heartbeats are
// faster than the member list.
func withNewestProfiles(others []members.Member, beats heartbeat.View) []members.Member {
	newest := slices.Clone(others)
	for i, o := range newest {
		if told := beats.Profiles[o.Name]; told.Version > o.Profile.Version {
			if p, err := members.Decode(told.Bytes); err == nil { // else the member list has logged it
				newest[i].Profile = p
			}
		}
	}
	return newest
}

// HeartbeatMembers returns the members with the paths on which heartbeats go to them.
func HeartbeatMembers(in Inputs) (list []heartbeat.Member) {
	for _, o := range in.Others {
		if o.Profile.Leaving {
			continue
		}
		list = append(list, heartbeat.Member{Name: o.Name, Lost: o.Lost, Paths: pathsTo(in, o)})
	}
	return list
}

// pathsTo returns the paths to a member: one for every segment that both share, or if
// they share none, one from node to node.
func pathsTo(in Inputs, o members.Member) (paths []heartbeat.Path) {
	for _, own := range in.Links {
		if path, ok := pathOn(own, o.Profile.Links); ok {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return []heartbeat.Path{{Local: in.Addr, Remote: o.Addr}}
	}
	return paths
}

// pathOn returns the path from one of our links to the first of a member's links on the
// same segment. It prefers IPv4.
func pathOn(own links.Link, theirs []members.Link) (heartbeat.Path, bool) {
	for _, family := range []func(members.Link) (netip.Prefix, netip.Prefix){
		func(l members.Link) (netip.Prefix, netip.Prefix) { return own.IPv4, l.IPv4 },
		func(l members.Link) (netip.Prefix, netip.Prefix) { return own.IPv6, l.IPv6 },
	} {
		for _, l := range theirs {
			if our, their := family(l); our.IsValid() && our.Masked() == their.Masked() && our.Addr() != their.Addr() {
				return heartbeat.Path{Link: own.Name, Local: our.Addr(), Remote: their.Addr(), MAC: l.MAC}, true
			}
		}
	}
	return heartbeat.Path{}, false
}
