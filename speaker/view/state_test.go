package view

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// twoLinks returns the inputs of node1. It has a link in the nodes' network and one in
// the VIPs' network. So has node2.
func twoLinks() Inputs {
	return Inputs{
		Node: "node1", Addr: addr("10.0.0.1"), Config: &config.Config{},
		Nodes: []plan.Node{{Name: "node1"}, {Name: "node2"}},
		Links: []links.Link{
			{Name: "eth0", MAC: [6]byte{1}, IPv4: netip.MustParsePrefix("10.0.0.1/24")},
			{Name: "eth1", MAC: [6]byte{2}, IPv6: netip.MustParsePrefix("2001:db8::1/64")},
		},
		Others: []members.Member{{Name: "node2", Addr: addr("10.0.0.2"), Profile: members.Profile{Links: []members.Link{
			{Name: "ens3", MAC: [6]byte{3}, IPv4: netip.MustParsePrefix("10.0.0.2/24")},
			{Name: "ens4", MAC: [6]byte{4}, IPv6: netip.MustParsePrefix("2001:db8::2/64")},
			{Name: "ens5", MAC: [6]byte{5}},
		}}}},
	}
}

func TestNewestProfileCounts(t *testing.T) {
	encode := func(version uint64) []byte { // a fenced profile, as package members writes it
		return append([]byte{1, 1, 0, 3, 0, 1}, 0, 0, 0, 0, 0, 0, 0, byte(version))
	}
	others := []members.Member{{Name: "node2", Profile: members.Profile{Version: 5}}}
	for version, want := range map[uint64]bool{4: false, 5: false, 6: true} {
		got := withNewestProfiles(others, heartbeat.View{Profiles: map[string]heartbeat.Profile{"node2": {Version: version, Bytes: encode(version)}}})
		if got[0].Profile.Fenced != want {
			t.Errorf("version %d replaces version 5: %v", version, got[0].Profile.Fenced)
		}
	}
	if others[0].Profile.Fenced {
		t.Error("the members that were given have changed")
	}
	if got := withNewestProfiles(others, heartbeat.View{Profiles: map[string]heartbeat.Profile{"node2": {Version: 7, Bytes: []byte("?")}}}); got[0].Profile.Version != 5 {
		t.Errorf("a profile that cannot be read replaces another: %+v", got[0].Profile)
	}
}

func TestHeartbeatsUseEverySegmentThatTwoSpeakersShare(t *testing.T) {
	in := twoLinks()
	want := []heartbeat.Path{{Link: "eth0", Local: addr("10.0.0.1"), Remote: addr("10.0.0.2"), MAC: [6]byte{3}}, {Link: "eth1", Local: addr("2001:db8::1"), Remote: addr("2001:db8::2"), MAC: [6]byte{4}}}
	if got := HeartbeatMembers(in); len(got) != 1 || got[0].Lost || !reflect.DeepEqual(got[0].Paths, want) {
		t.Errorf("%+v", got)
	}
	in.Others[0].Profile.Links, in.Others[0].Lost = nil, true
	want = []heartbeat.Path{{Local: addr("10.0.0.1"), Remote: addr("10.0.0.2")}}
	if got := HeartbeatMembers(in); !got[0].Lost || !reflect.DeepEqual(got[0].Paths, want) {
		t.Errorf("without a shared segment: %+v", got)
	}
	in.Others[0].Profile.Leaving = true
	if got := HeartbeatMembers(in); len(got) > 0 {
		t.Errorf("to a member that leaves: %+v", got)
	}
}

func TestMemberIsDeadWhereItIsNotHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		dead []netip.Addr
		want []bool
	}{
		"heard everywhere":         {nil, []bool{false, false, false}},
		"not heard on one segment": {[]netip.Addr{addr("10.0.0.2")}, []bool{true, false, false}},
		"not heard at all":         {[]netip.Addr{addr("10.0.0.2"), addr("2001:db8::2")}, []bool{true, true, true}},
	} {
		beats := heartbeat.View{Dead: map[string][]netip.Addr{"node2": tt.dead}}
		var got []bool
		for _, seg := range State(twoLinks(), beats, Self{}, nil).Members[1].Segments {
			got = append(got, seg.Dead)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestLostMemberCountsAgainAsSoonAsItIsHeard(t *testing.T) {
	in := twoLinks()
	in.Others[0].Lost = true
	var beats heartbeat.View
	if s := State(in, beats, Self{}, nil); len(s.Members) != 1 || !MembersByMAC(in, beats)[[6]byte{3}].Lost {
		t.Errorf("lost: %+v, %v", s.Members, MembersByMAC(in, beats))
	}
	beats.Returned = []string{"node2"}
	if s := State(in, beats, Self{}, nil); len(s.Members) != 2 || MembersByMAC(in, beats)[[6]byte{3}].Lost {
		t.Errorf("heard again: %+v, %v", s.Members, MembersByMAC(in, beats))
	}
}

func TestFencedSpeakerSaysSoAndIsNotElected(t *testing.T) {
	in, fenced := twoLinks(), Self{Fenced: "it has no link"}
	in.Others[0].Profile.Fenced = true
	if s := State(in, heartbeat.View{}, fenced, nil); len(s.Members) > 0 || s.Fenced == "" || !Profile(in, heartbeat.View{}, fenced).Fenced {
		t.Errorf("%+v, %+v", s, Profile(in, heartbeat.View{}, fenced))
	}
}

func TestSuppressionIsToldBeforeItEnds(t *testing.T) {
	in, ending := twoLinks(), Self{Suppressed: "its suppression has ended"}
	if s := State(in, heartbeat.View{}, ending, nil); !s.Members[0].Suppressed || s.Suppressed == "" || Profile(in, heartbeat.View{}, ending).Suppressed {
		t.Errorf("%+v", s.Members[0])
	}
	if !Profile(in, heartbeat.View{}, Self{SaysSuppressed: true}).Suppressed {
		t.Error("is not told")
	}
}

func TestLostMemberOfADeletedNodeIsDropped(t *testing.T) {
	in := twoLinks()
	others := in.Others
	others[0].Lost = true
	in.Others, in.Nodes = nil, in.Nodes[:1]
	in.setOthers(others)
	if len(in.Others) > 0 || !reflect.DeepEqual(in.Deleted, []string{"node2"}) {
		t.Errorf("others %v, deleted %v", in.Others, in.Deleted)
	}
	others[0].Lost = false
	if in.Deleted = nil; len(in.Others) == 0 {
		in.setOthers(others)
	}
	if len(in.Others) != 1 || len(in.Deleted) > 0 {
		t.Errorf("a living member without Node: others %v, deleted %v", in.Others, in.Deleted)
	}
}

func TestMembersThatStartTogetherCountOnEachOther(t *testing.T) {
	in := twoLinks()
	in.Others[0].Profile.Fenced, in.Others[0].Profile.Starting = true, true
	if s := State(in, heartbeat.View{}, Self{}, nil); len(s.Members) != 2 {
		t.Errorf("%+v", s.Members)
	}
	if p := Profile(in, heartbeat.View{}, Self{Fenced: "it waits", Starting: true}); !p.Fenced || !p.Starting {
		t.Errorf("%+v", p)
	}
}
