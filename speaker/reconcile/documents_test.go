package reconcile

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

func TestDocumentsBeforeTheFirstPassSayWhy(t *testing.T) {
	l := &Loop{}
	for kind, problem := range map[string]string{
		debugapi.PlanKind: l.PlanDocument().Problem, debugapi.BGPKind: l.BGPDocument().Problem,
		debugapi.SpreadKind: l.SpreadDocument().Problem, debugapi.MembersKind: l.MembersDocument().Problem,
	} {
		if problem != noPass {
			t.Errorf("%s: %q", kind, problem)
		}
	}
}

func TestMembersDocumentSaysWhoIsAliveAndWhoIsNot(t *testing.T) {
	addr := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	link := func(n byte) members.Link {
		return members.Link{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, n}, IPv4: netip.PrefixFrom(addr(n), 24)}
	}
	in := view.Inputs{Node: "node1", Addr: addr(1), Links: []links.Link{{Name: "eth0", IPv4: netip.PrefixFrom(addr(1), 24)}}, Others: []members.Member{
		{Name: "node2", Addr: addr(2), Profile: members.Profile{Links: []members.Link{link(2)}, Suppressed: true, Version: 7}},
		{Name: "node3", Addr: addr(3), Profile: members.Profile{Links: []members.Link{link(3)}}},
		{Name: "node4", Addr: addr(4), Lost: true, Profile: members.Profile{Links: []members.Link{link(4)}}},
	}}
	beats := heartbeat.View{
		Dead: map[string][]netip.Addr{"node3": {addr(3)}}, KernelDead: []string{"node3"}, Known: 5,
		Profiles: map[string]heartbeat.Profile{"node2": {Version: 7}}, FencedLinks: map[string]bool{"eth0": true},
	}
	d := membersDocument(in, beats, view.Self{Fenced: "it hears no other speaker"})
	d.Header = debugapi.NewHeader(debugapi.MembersKind, "v1", time.Now())
	d.Node, d.Rejected = "node1", map[string]uint64{"heartbeat/key": 3}
	d.OtherKeys = []debugapi.OtherKey{{To: "heartbeat", From: addr(9), Last: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	if d.Self.ProfileVersion != 5 || len(d.Self.FencedLinks) != 1 || len(d.Self.Links) != 1 {
		t.Errorf("%+v", d.Self)
	}
	want := `node1 address=192.0.2.1 self version=v1 fenced="it hears no other speaker"
node2 address=192.0.2.2 alive suppressed
node3 address=192.0.2.3 kernel-dead never-heard
node4 address=192.0.2.4 lost
rejected heartbeat/key=3
another-key to=heartbeat from=192.0.2.9 last=2026-03-01T12:00:00Z
`
	if got := DescribeMembers(d); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSessionDocumentsNameTheProblemOfASessionThatIsDown(t *testing.T) {
	got := sessionDocuments([]bgp.Status{
		{Peer: "a", State: "ESTABLISHED", Up: true, Problem: "an old one", Prefixes: 2, BFD: &bfd.Status{State: bfd.Up}},
		{Peer: "b", State: "IDLE", Problem: "192.0.2.2 refuses the password", Downs: 1, BFD: &bfd.Status{Why: "nothing was received"}},
	})
	if got[0].Problem != "" || got[0].BFD.Problem != "" || got[0].Prefixes != 2 {
		t.Errorf("%+v %+v", got[0], got[0].BFD)
	}
	if got[1].Problem != "192.0.2.2 refuses the password" || got[1].BFD.Problem != "nothing was received" || got[1].Downs != 1 {
		t.Errorf("%+v %+v", got[1], got[1].BFD)
	}
}

func TestSpreadDocumentHasTheSlotsOfEachNode(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	d := spreadDocument(plan.Plan{
		Decisions: []plan.Decision{
			{VIP: a, Services: []string{"default/a"}, Owner: "node1", Spread: plan.Spreading, Carriers: []plan.Carrier{{Node: "node1", Slots: 100}, {Node: "node2", Slots: 156}}},
			{VIP: b, Services: []string{"default/b"}, Owner: "node1"},
			{VIP: c, Services: []string{"default/c"}, Spread: plan.NoOwner},
		},
		Spread: []plan.Spread{{VIP: a, Link: "eth0", Slots: &plan.SlotTable{Ring: 2}}, {VIP: a, Link: "eth1", Slots: &plan.SlotTable{}}},
	})
	d.Node, d.RulesProblem = "node1", "writing the tables: message too long"
	want := `node node1 rules=false
the kernel did not take the rules: writing the tables: message too long
192.0.2.1 services=default/a owner=node1 reason=Spread slots=node1:100,node2:156 links=eth0,eth1
192.0.2.3 services=default/c owner=none reason=NoOwner
`
	if got := DescribeSpread(d); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if len(d.VIPs) != 2 || !strings.HasPrefix(d.VIPs[0].Links[0].Link, "eth0") || d.VIPs[0].Links[0].Ring != 2 {
		t.Errorf("%+v", d.VIPs)
	}
}
