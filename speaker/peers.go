package speaker

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// The member list says who belongs to us, the heartbeats who of them is alive, and
// the links where. What follows from the three is here, without I/O.

// neighbourhood is what a speaker knows of itself and of the others.
type neighbourhood struct {
	node   string
	addr   netip.Addr // of the node
	links  []links.Link
	others []members.Member
	beats  heartbeat.View
	silent string
	held   bool // others are preferred to this speaker
	blind  bool // it has no configuration, and cannot know what others do
}

// profile is what this speaker says of itself.
func (n neighbourhood) profile() members.Profile {
	p := members.Profile{Silent: n.silent != "", Held: n.beats.Held[n.node] || n.blind}
	for _, l := range n.links {
		p.Links = append(p.Links, members.Link{Name: l.Name, MAC: l.MAC, IPv4: l.IPv4, IPv6: l.IPv6})
	}
	return p
}

// speakers are those that can announce.
func (n neighbourhood) speakers() (speakers []Member) {
	if n.silent == "" {
		self := Member{Name: n.node, Held: n.held || n.blind}
		for _, l := range n.links {
			self.Links = append(self.Links, Link{Name: l.Name, IPv4: l.IPv4.Masked(), IPv6: l.IPv6.Masked(), Dead: n.beats.Fenced[l.Name]})
		}
		speakers = append(speakers, self)
	}
	for _, o := range n.others {
		if o.Lost && !slices.Contains(n.beats.Returned, o.Name) || o.Profile.Silent || o.Profile.Leaving {
			continue
		}
		dead := n.beats.Dead[o.Name]
		// A link over which no heartbeats go is as alive as the node.
		gone := !slices.ContainsFunc(n.pathsTo(o), func(p heartbeat.Path) bool { return !slices.Contains(dead, p.Remote) })
		sp := Member{Name: o.Name, Held: o.Profile.Held || n.beats.Held[o.Name]}
		for _, l := range o.Profile.Links {
			sp.Links = append(sp.Links, Link{Name: l.Name, IPv4: l.IPv4.Masked(), IPv6: l.IPv6.Masked(),
				Dead: slices.Contains(dead, l.IPv4.Addr()) || slices.Contains(dead, l.IPv6.Addr()) || gone})
		}
		speakers = append(speakers, sp)
	}
	return speakers
}

// lost are the speakers that have died without a word and have not been heard since.
func (n neighbourhood) lost() (names []string) {
	for _, o := range n.others {
		if o.Lost && !slices.Contains(n.beats.Returned, o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// byMAC are the other speakers by the MAC addresses of their links.
func (n neighbourhood) byMAC() map[[6]byte]layer2.Peer {
	peers := map[[6]byte]layer2.Peer{}
	for _, o := range n.others {
		lost := o.Lost && !slices.Contains(n.beats.Returned, o.Name)
		for _, l := range o.Profile.Links {
			if _, known := peers[l.MAC]; !known || !lost {
				peers[l.MAC] = layer2.Peer{Name: o.Name, Lost: lost}
			}
		}
	}
	return peers
}

// paths are the ways on which heartbeats go to the others.
func (n neighbourhood) paths() (peers []heartbeat.Peer) {
	for _, o := range n.others {
		if o.Profile.Leaving {
			continue
		}
		peers = append(peers, heartbeat.Peer{Name: o.Name, Member: !o.Lost, Paths: n.pathsTo(o)})
	}
	return peers
}

// pathsTo are those to one of the others: over every segment that the two share,
// or if they share none from node to node.
func (n neighbourhood) pathsTo(o members.Member) (paths []heartbeat.Path) {
	for _, ours := range n.links {
		if path, ok := segment(ours, o.Profile.Links); ok {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return []heartbeat.Path{{Local: n.addr, Remote: o.Addr}}
	}
	return paths
}

// segment returns the way to the one of their links that is on the same segment.
func segment(ours links.Link, theirs []members.Link) (heartbeat.Path, bool) {
	for _, pick := range []func(members.Link) (netip.Prefix, netip.Prefix){
		func(l members.Link) (netip.Prefix, netip.Prefix) { return ours.IPv4, l.IPv4 },
		func(l members.Link) (netip.Prefix, netip.Prefix) { return ours.IPv6, l.IPv6 },
	} {
		for _, l := range theirs {
			if our, their := pick(l); our.IsValid() && our.Masked() == their.Masked() && our.Addr() != their.Addr() {
				return heartbeat.Path{Link: ours.Name, Local: our.Addr(), Remote: their.Addr()}, true
			}
		}
	}
	return heartbeat.Path{}, false
}
