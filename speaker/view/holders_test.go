package view

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

func TestHoldersAreAllNodesWhoseKernelsMayLive(t *testing.T) {
	other := func(change func(*members.Member)) func(*Inputs, *heartbeat.View, *Self) {
		return func(in *Inputs, _ *heartbeat.View, _ *Self) { change(&in.Others[0]) }
	}
	for name, tt := range map[string]struct {
		change func(*Inputs, *heartbeat.View, *Self)
		want   string // members / holders, each with its dead links
	}{
		"all alive":    {func(*Inputs, *heartbeat.View, *Self) {}, "node1 node2 / node1 node2"},
		"fenced":       {other(func(m *members.Member) { m.Profile.Fenced = true }), "node1 / node1 node2"},
		"leaving":      {other(func(m *members.Member) { m.Profile.Leaving = true }), "node1 / node1 node2"},
		"without link": {other(func(m *members.Member) { m.Profile.Links = nil }), "node1 node2 / node1"},
		"this speaker is fenced": {func(_ *Inputs, _ *heartbeat.View, self *Self) { self.Fenced = "it has no link" },
			"node2 / node1 node2"},
		"the speaker is dead": {func(_ *Inputs, beats *heartbeat.View, _ *Self) {
			beats.Dead = map[string][]netip.Addr{"node2": {addr("10.0.0.2"), addr("2001:db8::2")}}
		}, "node1 node2-ens3-ens4-ens5 / node1 node2"},
		"the speaker is dead, and the member list knows": {func(in *Inputs, beats *heartbeat.View, _ *Self) {
			beats.Dead = map[string][]netip.Addr{"node2": {addr("10.0.0.2"), addr("2001:db8::2")}}
			in.Departed = []members.Member{in.Others[0]}
			in.Others[0].Lost = true
		}, "node1 / node1 node2"},
		"the kernel is dead": {func(in *Inputs, beats *heartbeat.View, _ *Self) {
			beats.Dead = map[string][]netip.Addr{"node2": {addr("10.0.0.2"), addr("2001:db8::2")}}
			beats.KernelDead = []string{"node2"}
		}, "node1 node2-ens3-ens4-ens5 / node1"},
		"the speaker has left": {func(in *Inputs, _ *heartbeat.View, _ *Self) { in.Departed, in.Others = in.Others, nil }, "node1 / node1 node2"},
		"the speaker has left, and the kernel is dead": {func(in *Inputs, beats *heartbeat.View, _ *Self) {
			in.Departed, in.Others, beats.KernelDead = in.Others, nil, []string{"node2"}
		}, "node1 / node1"},
		"one link is dead": {func(_ *Inputs, beats *heartbeat.View, _ *Self) {
			beats.Dead, beats.FencedLinks = map[string][]netip.Addr{"node2": {addr("2001:db8::2")}}, map[string]bool{"eth1": true}
		}, "node1-eth1 node2-ens4 / node1-eth1 node2-ens4"},
	} {
		in, beats, self := twoLinks(), heartbeat.View{}, Self{}
		tt.change(&in, &beats, &self)
		s := State(in, beats, self, nil)
		got := ""
		for _, m := range s.Members {
			got += m.Name
			for _, seg := range m.Segments {
				if seg.Dead {
					got += "-" + seg.Link
				}
			}
			got += " "
		}
		got += "/"
		for _, m := range s.Holders {
			got += " " + m.Name
			for _, seg := range m.Segments {
				if seg.Dead {
					got += "-" + seg.Link
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestHoldersHaveTheRulesOfTheirKernels(t *testing.T) {
	in, rules := twoLinks(), map[netip.Addr]bool{addr("192.0.2.7"): true}
	in.HasRules = map[string]map[netip.Addr]bool{"node2": rules}
	left := in
	left.Departed, left.Others = in.Others, nil
	for _, in := range []Inputs{in, left} {
		holders := State(in, heartbeat.View{}, Self{}, nil).Holders
		if len(holders) != 2 || holders[0].HasRules != nil || !maps.Equal(holders[1].HasRules, rules) {
			t.Errorf("%+v", holders)
		}
	}
}

func TestSpeakerSaysWhetherItCanSpread(t *testing.T) {
	in := twoLinks()
	in.Others[0].Profile.Spreads = true
	for _, why := range []string{"", "the kernel has no nftables"} {
		self := Self{CannotSpread: why, SaysSpreads: why == "", HandsOn: why == ""}
		s := State(in, heartbeat.View{}, self, nil)
		got := fmt.Sprint(Profile(in, heartbeat.View{}, self).Spreads, s.CannotSpread, s.Members[0].Spreads, s.Holders[0].Spreads, s.Members[1].Spreads, s.Holders[1].Spreads)
		if can := why == ""; got != fmt.Sprint(can, why, can, can, true, true) {
			t.Errorf("%q: %s", why, got)
		}
	}
}

// A node whose speaker has just started for the first time has no rules. In a ring, it would lose the
// segments of other nodes.
func TestSpeakerHandsOnOnlyIfTheKernelHasRules(t *testing.T) {
	for _, hasRules := range []bool{false, true} {
		self := Self{Fenced: "it hears no member", HandsOn: hasRules}
		s := State(twoLinks(), heartbeat.View{}, self, nil)
		if p := Profile(twoLinks(), heartbeat.View{}, self); p.HandsOn != hasRules || s.Holders[0].HandsOn != hasRules {
			t.Errorf("rules %v: it tells %+v, and plans with %+v", hasRules, p, s.Holders[0])
		}
	}
}

func TestSegmentsHaveTheMainAddresses(t *testing.T) {
	s := State(twoLinks(), heartbeat.View{}, Self{}, nil)
	for i := range s.Members {
		if got := fmt.Sprint(s.Members[i].Segments[0].IPv4, s.Holders[i].Segments[1].IPv6); got != fmt.Sprintf("10.0.0.%d/24 2001:db8::%[1]d/64", i+1) {
			t.Errorf("%s: %s", s.Members[i].Name, got)
		}
	}
}
