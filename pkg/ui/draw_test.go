package ui

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestPlacesAreWhatEachNodeSaysAboutItself(t *testing.T) {
	session := func(up bool, s Speaker) Speaker {
		s.BGP.Sessions = []debugapi.Session{{Peer: "tor", Up: up}, {Peer: "other", Up: true}}
		s.BGP.Routes = []debugapi.Route{{Prefix: netip.PrefixFrom(vip1, vip1.BitLen()), Peers: []string{"tor"}}}
		return s
	}
	routed := debugapi.Decision{VIP: vip1, Pool: "lan", Protocol: "bgp", Reason: "NotLayer2", BGP: "Advertised"}
	for name, test := range map[string]struct {
		speakers []Speaker
		places   []Place
		problem  string
	}{
		"one owner": {
			[]Speaker{answers("a", nil, layer2("a", vip1, "a")), answers("b", nil, layer2("b", vip1, "a"))},
			[]Place{{Node: "a", Owner: true}}, "",
		},
		"the owner does not answer, and the others name it": {
			[]Speaker{silent("a"), answers("b", nil, layer2("b", vip1, "a"))},
			[]Place{{Node: "a", Owner: true}}, "",
		},
		"the others have another owner than the node that does not answer": {
			[]Speaker{silent("a"), answers("b", nil, layer2("b", vip1, "b")), answers("c", nil, layer2("c", vip1, "a"))},
			[]Place{{Node: "b", Owner: true}}, "",
		},
		"two nodes announce": {
			[]Speaker{answers("a", nil, layer2("a", vip1, "a")), answers("b", nil, layer2("b", vip1, "b"))},
			[]Place{{Node: "a", Owner: true}, {Node: "b", Owner: true}}, "",
		},
		"each takes the other for the owner": {
			[]Speaker{answers("a", nil, layer2("a", vip1, "b")), answers("b", nil, layer2("b", vip1, "a"))},
			nil, "it is changing its node",
		},
		"no node may": {
			[]Speaker{answers("a", nil, layer2("a", vip1, ""))},
			nil, "no node that may announce has a ready endpoint",
		},
		"a reason that this version does not know": {
			[]Speaker{answers("a", nil, debugapi.Decision{VIP: vip1, Protocol: "layer2", Reason: "Moonlight"})},
			nil, "Moonlight",
		},
		"spread, as the owner says": {
			[]Speaker{
				answers("a", nil, layer2("a", vip1, "b", debugapi.Carrier{Node: "c", Slots: 256})),
				answers("b", nil, layer2("b", vip1, "b", debugapi.Carrier{Node: "a", Slots: 100}, debugapi.Carrier{Node: "b", Slots: 156})),
			},
			[]Place{{Node: "a", Slots: 100}, {Node: "b", Owner: true, Slots: 156}}, "",
		},
		"BGP, where a session is up": {
			[]Speaker{session(true, answers("a", nil, routed)), session(false, answers("b", nil, routed)), answers("c", nil, routed)},
			[]Place{{Node: "a", BGP: true}}, "",
		},
		"BGP without sessions": {
			[]Speaker{session(false, answers("a", nil, routed))},
			nil, "no node has a BGP session for it",
		},
		"BGP without peers": {
			[]Speaker{answers("a", nil, debugapi.Decision{VIP: vip1, Protocol: "bgp", BGP: "NoPeer"})},
			nil, "no BGP peer is configured for the nodes",
		},
	} {
		p, known := Draw(Report{Speakers: test.speakers})
		if !known || len(p.Addresses) != 1 {
			t.Errorf("%s: known %t, addresses %+v", name, known, p.Addresses)
			continue
		}
		got := p.Addresses[0]
		if !reflect.DeepEqual(got.Places, test.places) || !strings.Contains(got.Problem, test.problem) || (got.Problem == "") != (test.problem == "") {
			t.Errorf("%s: places %+v, problem %q", name, got.Places, got.Problem)
		}
	}
}

func TestNodeStateIsItsOwnWordOrThatOfOthers(t *testing.T) {
	fenced, leaving, suppressed, starting := answers("a", nil), answers("b", []string{"a"}), answers("a", nil), answers("a", nil)
	fenced.Members.Self.Fenced = "it hears no other member"
	leaving.Members.Members[0].Leaving = true
	suppressed.Members.Self.Suppressed = "it failed too often"
	starting.Members = &debugapi.Members{Header: debugapi.Header{Problem: "it has made no plan yet"}}
	dead := answers("b", []string{"a"})
	dead.Members.Members[0].Alive = false
	hears, alone := answers("b", []string{"a"}), answers("b", nil)
	for name, test := range map[string]struct {
		speakers []Speaker
		state    State
		why      string
	}{
		"one node":                              {[]Speaker{answers("a", nil)}, Up, ""},
		"heard":                                 {[]Speaker{answers("a", nil), hears}, Up, ""},
		"it answers only the page":              {[]Speaker{answers("a", nil), alone}, NotHeard, "no other speaker hears it"},
		"it answers only the other speakers":    {[]Speaker{silent("a"), hears}, NoAnswer, "no answer in 5s"},
		"it answers nobody":                     {[]Speaker{silent("a"), alone}, Dead, "no other speaker hears it"},
		"the others say that it is dead":        {[]Speaker{silent("a"), dead}, Dead, "no other speaker hears it"},
		"no speaker runs there":                 {[]Speaker{{Node: "a", Missing: true, Err: "no pod"}, alone}, NoSpeaker, "no pod"},
		"nobody answers the page":               {[]Speaker{silent("a"), silent("b")}, Unknown, "no answer in 5s"},
		"fenced":                                {[]Speaker{fenced, hears}, Fenced, "it hears no other member"},
		"leaving":                               {[]Speaker{answers("a", nil), leaving}, Leaving, "it has said that it ends"},
		"suppressed":                            {[]Speaker{suppressed, hears}, Suppressed, "it failed too often"},
		"starting, so that it has nothing else": {[]Speaker{starting, hears}, Starting, "it has made no plan yet"},
	} {
		p, _ := Draw(Report{Speakers: test.speakers})
		if got := p.Nodes[0]; got.Name != "a" || got.State != test.state || got.Why != test.why {
			t.Errorf("%s: %+v, want %s %q", name, got, test.state, test.why)
		}
	}
}

func TestPictureHasPoolsWaitingServicesAndSessions(t *testing.T) {
	s := answers("a", nil, layer2("a", vip1, "a"))
	s.BGP.Sessions = []debugapi.Session{
		{Peer: "tor1", State: "ESTABLISHED", Up: true, Since: noon},
		{Peer: "tor2", State: "ESTABLISHED", Up: true, BFD: &debugapi.BFD{State: "Down", Problem: "nothing was received"}},
		{Peer: "tor3", State: "ACTIVE", Problem: "connection refused"},
	}
	p, _ := Draw(Report{Time: noon, Speakers: []Speaker{s}, Problems: []Problem{{Severity: "error", What: "typo"}}, Allocations: &debugapi.Allocations{
		Pools: []debugapi.Pool{{Name: "lan", Family: "IPv4", Protocol: "layer2", Total: 10, Assigned: 2, Cooldown: 1, Free: 7}},
		Services: []debugapi.ServiceAllocation{
			{Name: "shop/api", Addresses: addrs(vip1, vip2)},
			{Name: "shop/db", Waiting: &debugapi.Waiting{Since: noon, Why: "all pools are full", Advice: "add a range"}},
		},
	}})
	want := Picture{
		Time: noon, Problems: []Problem{{Severity: "error", What: "typo"}},
		Nodes: []Node{{Name: "a", State: Up, Sessions: []Session{
			{Peer: "tor1", State: "ESTABLISHED", Up: true, Since: noon},
			{Peer: "tor2", State: "BFD Down", Up: true, Problem: "nothing was received"},
			{Peer: "tor3", State: "ACTIVE", Problem: "connection refused"},
		}}},
		Addresses: []Address{
			{Address: vip1, Services: []string{"shop/api", "shop/web"}, Pool: "lan", Protocol: "layer2", Places: []Place{{Node: "a", Owner: true}}},
			{Address: vip2, Services: []string{"shop/api"}, Problem: "the speakers do not know it yet"},
		},
		Waiting: []Waiting{{Service: "shop/db", Since: noon, Why: "all pools are full", Advice: "add a range"}},
		Pools:   []Pool{{Name: "lan", Family: "IPv4", Protocol: "layer2", Total: 10, Assigned: 2, Cooldown: 1}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got\n%+v, want\n%+v", p, want)
	}
}

// Each of 100 nodes says something about each of 1,000 addresses.
func BenchmarkDraw(b *testing.B) {
	var r Report
	for n := range 100 {
		node := fmt.Sprintf("node-%d", n)
		var decisions []debugapi.Decision
		for i := range 1000 {
			decisions = append(decisions, layer2(node, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), fmt.Sprintf("node-%d", i%100)))
		}
		r.Speakers = append(r.Speakers, answers(node, nil, decisions...))
	}
	for b.Loop() {
		Draw(r)
	}
}
