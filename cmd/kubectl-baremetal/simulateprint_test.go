package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

func TestAnnouncementsArePrintedForPeople(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	r := simulate.Result{Drained: []string{"node2"}, Lost: []string{"node4", "node5"}, Configuration: true, Unchanged: 7,
		Addresses: []simulate.Address{
			{Address: addr("192.0.2.10"), Services: []string{"default/web"}, Before: simulate.Serving{Pool: "a", Layer2: []string{"node2"}, BGP: []string{"node1", "node2"}},
				After: simulate.Serving{Pool: "b", Layer2: []string{"node1"}, BGP: []string{"node1"}}, Connections: "they usually break"},
			{Address: addr("192.0.2.11"), Services: []string{"default/a", "default/b", "default/c", "default/d", "default/e", "default/f"},
				Before: simulate.Serving{Pool: "a", Layer2: []string{"node1"}, Slots: []simulate.Slots{{Node: "node1", Slots: 82}, {Node: "node2", Slots: 88}, {Node: "node3", Slots: 86}}},
				After:  simulate.Serving{Pool: "a", Layer2: []string{"node1"}, Slots: []simulate.Slots{{Node: "node1", Slots: 170}, {Node: "node3", Slots: 86}}}, Connections: "they go on"},
			{Address: addr("192.0.2.12"), Services: []string{"default/x"}, Before: simulate.Serving{Layer2: []string{"node4"}}, Unserved: true, Why: "no node may announce"},
		},
		Nodes: []simulate.Node{
			{Node: "node1", Announces: simulate.Count{Before: 1, After: 2}, Added: []netip.Prefix{prefix("192.0.2.0/24")}, Sessions: []simulate.Session{{Peer: "tor", Change: "restarts"}, {Peer: "spine", Change: "begins"}}},
			{Node: "node2", Announces: simulate.Count{Before: 1}, Withdrawn: []netip.Prefix{prefix("192.0.2.1/32"), prefix("192.0.2.2/32"), prefix("192.0.2.3/32"), prefix("192.0.2.4/32"), prefix("192.0.2.5/32"), prefix("192.0.2.6/32")}, Changed: []netip.Prefix{prefix("192.0.2.7/32")}},
		},
		Notes: []string{"One.", "Two."},
	}
	const want = `With node2 drained, and without node4, node5, and with this configuration, something would change for 3 of 10 addresses:

192.0.2.10  default/web
  pool         a → b
  layer 2      node2 → node1
  BGP          node1, node2 → node1
  connections  they usually break

192.0.2.11  default/a, default/b, default/c, default/d and 2 more
  layer 2      node1, as now
  slots        node1 82 → 170, node2 88 → 0, node3 86
  connections  they go on

192.0.2.12  default/x
  layer 2      node4 → nobody
  NOT SERVED   no node may announce

NODE    ANNOUNCES BY LAYER 2   BGP SESSIONS                 BGP ROUTES
node1   1 → 2                  tor restarts, spine begins   adds 192.0.2.0/24
node2   1 → 0                  -                            withdraws 192.0.2.1/32, 192.0.2.2/32, 192.0.2.3/32, 192.0.2.4/32 and 2 more; changes 192.0.2.7/32

Note: One.
Note: Two.
`
	var out bytes.Buffer
	if err := printAnnouncements(&out, &r); err != nil || out.String() != want {
		t.Errorf("%v, printed\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestManyNodesAreCounted(t *testing.T) {
	var nodes []string
	var carriers []simulate.Slots
	for i := range 8 {
		nodes = append(nodes, fmt.Sprintf("node%d", i))
		carriers = append(carriers, simulate.Slots{Node: nodes[i], Slots: 32})
	}
	for _, tt := range []struct {
		before, after []string
		want          string
	}{
		{nodes, nodes, "8 nodes, as now"},
		{nodes, nodes[1:], "8 nodes → 7, without node0"},
		{nodes[1:], nodes, "7 nodes → 8, with node0"},
		{nodes[1:], nodes[:7], "7 nodes, without node7, with node0"},
		{nodes[:5], nodes[:1], "node0, node1, node2, node3, node4 → node0"},
		{nil, nodes[:1], "nobody → node0"},
	} {
		if got := nodesText(tt.before, tt.after); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := slotsText(simulate.Serving{Slots: carriers}, simulate.Serving{Slots: carriers[2:]}); got != "8 nodes → 6, without node0, node1" {
		t.Errorf("%q", got)
	}
}
