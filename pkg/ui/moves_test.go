package ui

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestMovesSayWhatDiffers(t *testing.T) {
	at := func(addr netip.Addr, places ...Place) Address { return Address{Address: addr, Places: places} }
	owner := func(node string) Place { return Place{Node: node, Owner: true} }
	node := func(state State, sessions ...Session) Node {
		return Node{Name: "node-2", State: state, Sessions: sessions}
	}
	var many, moved []Address
	for i := range 5 {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		many, moved = append(many, at(addr, owner("node-2"))), append(moved, at(addr, owner("node-3")))
	}
	for name, test := range map[string]struct {
		before, after Picture
		want          []string
	}{
		"nothing": {Picture{Addresses: many}, Picture{Addresses: many}, nil},
		"one address moved": {
			Picture{Addresses: []Address{at(vip1, owner("node-2"))}}, Picture{Addresses: []Address{at(vip1, owner("node-3"))}},
			[]string{"192.0.2.1 moved from node-2 to node-3"},
		},
		"many moved in one way": {
			Picture{Addresses: many}, Picture{Addresses: moved},
			[]string{"5 addresses (192.0.2.0, 192.0.2.1, 192.0.2.2, …) moved from node-2 to node-3"},
		},
		"a node died": {
			Picture{Nodes: []Node{node(Up)}}, Picture{Nodes: []Node{{Name: "node-2", State: Dead, Why: "no other speaker hears it"}}},
			[]string{"node-2 was up, and is dead now: no other speaker hears it"},
		},
		"a node came": {
			Picture{}, Picture{Nodes: []Node{node(Starting)}},
			[]string{"node-2 is new: starting"},
		},
		"a node is gone": {
			Picture{Nodes: []Node{node(Up)}}, Picture{},
			[]string{"node-2 has no speaker any more"},
		},
		"sessions": {
			Picture{Nodes: []Node{node(Up, Session{Peer: "tor1", Up: true}, Session{Peer: "tor2"})}},
			Picture{Nodes: []Node{node(Up, Session{Peer: "tor1", Problem: "hold timer"}, Session{Peer: "tor2", Up: true}, Session{Peer: "tor3"})}},
			[]string{"node-2: the BGP session with tor1 went down: hold timer", "node-2: the BGP session with tor2 came up"},
		},
		"an address began and another ended": {
			Picture{Addresses: []Address{at(vip1, owner("node-2"))}}, Picture{Addresses: []Address{at(vip2, owner("node-3"))}},
			[]string{"no Service has 192.0.2.1 any more", "node-3 began to announce 192.0.2.2"},
		},
		"no node announces": {
			Picture{Addresses: []Address{at(vip1, owner("node-2"))}}, Picture{Addresses: []Address{{Address: vip1, Problem: "no endpoint"}, {Address: vip2, Problem: "no link"}}},
			[]string{"192.0.2.2 is new, and no node announces it: no link", "node-2 announces 192.0.2.1 no more: no endpoint"},
		},
		"carriers and BGP": {
			Picture{Addresses: []Address{at(vip1, Place{Node: "node-1", Owner: true, Slots: 128}, Place{Node: "node-2", Slots: 128}), at(vip2, Place{Node: "node-2", BGP: true})}},
			Picture{Addresses: []Address{at(vip1, Place{Node: "node-1", Owner: true, Slots: 200}, Place{Node: "node-3", Slots: 56}), at(vip2, Place{Node: "node-3", BGP: true})}},
			[]string{
				"node-2 advertises 192.0.2.2 over BGP no more", "node-2 carries flows of 192.0.2.1 no more",
				"node-3 began to advertise 192.0.2.2 over BGP", "node-3 began to carry flows of 192.0.2.1",
			},
		},
	} {
		test.before.Time, test.after.Time = noon, noon.Add(time.Second)
		var got []string
		for _, m := range Moves(test.before, test.after) {
			if m.After != test.before.Time || m.Time != test.after.Time {
				t.Errorf("%s: %q between %s and %s", name, m.Text, m.After, m.Time)
			}
			got = append(got, m.Text)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, test.want)
		}
	}
}
