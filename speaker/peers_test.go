package speaker

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// twoLinks is node1, with a link in the nodes' network and one in that of the
// addresses, and node2 with the same.
func twoLinks() neighbourhood {
	return neighbourhood{
		node: "node1", addr: addr("10.0.0.1"),
		links: []links.Link{
			{Name: "eth0", MAC: [6]byte{1}, IPv4: netip.MustParsePrefix("10.0.0.1/24")},
			{Name: "eth1", MAC: [6]byte{2}, IPv6: netip.MustParsePrefix("2001:db8::1/64")},
		},
		others: []members.Member{{Name: "node2", Addr: addr("10.0.0.2"), Profile: members.Profile{Links: []members.Link{
			{Name: "ens3", MAC: [6]byte{3}, IPv4: netip.MustParsePrefix("10.0.0.2/24")},
			{Name: "ens4", MAC: [6]byte{4}, IPv6: netip.MustParsePrefix("2001:db8::2/64")},
			{Name: "ens5", MAC: [6]byte{5}},
		}}}},
	}
}

func TestHeartbeatsGoOverEverySegmentThatTwoSpeakersShare(t *testing.T) {
	n := twoLinks()
	want := []heartbeat.Path{{Link: "eth0", Local: addr("10.0.0.1"), Remote: addr("10.0.0.2")}, {Link: "eth1", Local: addr("2001:db8::1"), Remote: addr("2001:db8::2")}}
	if got := n.paths(); len(got) != 1 || !got[0].Member || !reflect.DeepEqual(got[0].Paths, want) {
		t.Errorf("%+v", got)
	}
	n.others[0].Profile.Links, n.others[0].Lost = nil, true
	want = []heartbeat.Path{{Local: addr("10.0.0.1"), Remote: addr("10.0.0.2")}}
	if got := n.paths(); got[0].Member || !reflect.DeepEqual(got[0].Paths, want) {
		t.Errorf("without a segment in common: %+v", got)
	}
	n.others[0].Profile.Leaving = true
	if got := n.paths(); len(got) > 0 {
		t.Errorf("to one that leaves: %+v", got)
	}
}

func TestASpeakerIsDeadWhereItIsNotHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		dead []netip.Addr
		want []bool
	}{
		"heard everywhere":       {nil, []bool{false, false, false}},
		"silent on one segment":  {[]netip.Addr{addr("10.0.0.2")}, []bool{true, false, false}},
		"silent on all segments": {[]netip.Addr{addr("10.0.0.2"), addr("2001:db8::2")}, []bool{true, true, true}},
	} {
		n := twoLinks()
		n.beats.Dead = map[string][]netip.Addr{"node2": tt.dead}
		var got []bool
		for _, l := range n.speakers()[1].Links {
			got = append(got, l.Dead)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestALostSpeakerCountsAgainAsSoonAsItIsHeard(t *testing.T) {
	n := twoLinks()
	n.others[0].Lost = true
	if len(n.speakers()) != 1 || len(n.lost()) != 1 || !n.byMAC()[[6]byte{3}].Lost {
		t.Errorf("lost: %+v, %v, %v", n.speakers(), n.lost(), n.byMAC())
	}
	n.beats.Returned = []string{"node2"}
	if len(n.speakers()) != 2 || len(n.lost()) != 0 || n.byMAC()[[6]byte{3}].Lost {
		t.Errorf("heard again: %+v, %v, %v", n.speakers(), n.lost(), n.byMAC())
	}
}

func TestASilentSpeakerSaysSoAndIsNotElected(t *testing.T) {
	n := twoLinks()
	n.silent = "it has no link"
	n.others[0].Profile.Silent = true
	if got := n.speakers(); len(got) > 0 || !n.profile().Silent {
		t.Errorf("%+v, %+v", got, n.profile())
	}
}
