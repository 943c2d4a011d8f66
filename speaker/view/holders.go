package view

import (
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// holders returns the nodes that may have connections of clients: this one, and all others whose
// kernel lives as far as is known, whatever their speakers do.
func holders(in Inputs, beats heartbeat.View, self Self) []plan.Member {
	profile := members.Told(Profile(in, beats, self))
	own := segments(profile, func(l members.Link) bool { return beats.FencedLinks[l.Name] })
	all := []plan.Member{{Name: in.Node, Spreads: profile.Spreads, HandsOn: profile.HandsOn, Segments: own}}
	add := func(o members.Member, isDead func(members.Link) bool) {
		if !slices.Contains(beats.KernelDead, o.Name) {
			all = append(all, plan.Member{Name: o.Name, Spreads: o.Profile.Spreads, HandsOn: o.Profile.HandsOn, HasRules: in.HasRules[o.Name], Segments: segments(o.Profile, isDead)})
		}
	}
	for _, o := range in.Others {
		if !isPresent(o, beats) {
			continue // it is one of the Departed, or has never said anything
		}
		// A member that is not heard anywhere may be a speaker that has ended.
		allDead := isDeadEverywhere(in, o, beats)
		add(o, func(l members.Link) bool { return !allDead && isDeadOn(l, o, beats) })
	}
	for _, o := range in.Departed {
		add(o, func(members.Link) bool { return false })
	}
	return all
}

// segments returns the links of a profile as a plan sees them.
func segments(p members.Profile, isDead func(members.Link) bool) []plan.Segment {
	all := make([]plan.Segment, len(p.Links))
	for i, l := range p.Links {
		all[i] = plan.Segment{Link: l.Name, IPv4: l.IPv4, IPv6: l.IPv6, Networks: l.Networks, Dead: isDead(l)}
	}
	return all
}

// isDeadOn reports whether a member is not heard at an address of the link.
func isDeadOn(l members.Link, o members.Member, beats heartbeat.View) bool {
	dead := beats.Dead[o.Name]
	return slices.Contains(dead, l.IPv4.Addr()) || slices.Contains(dead, l.IPv6.Addr())
}

// isDeadEverywhere reports whether a member is not heard on any path.
func isDeadEverywhere(in Inputs, o members.Member, beats heartbeat.View) bool {
	dead := beats.Dead[o.Name]
	return !slices.ContainsFunc(pathsTo(in, o), func(p heartbeat.Path) bool { return !slices.Contains(dead, p.Remote) })
}
