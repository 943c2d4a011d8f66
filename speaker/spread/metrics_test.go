package spread

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakeCounters are what the sets have counted, by their families and names.
type fakeCounters map[setName][]count

func (c fakeCounters) read(s set) ([]count, error) {
	if c == nil {
		return nil, errors.New("no such table")
	}
	return c[setName{s.family, s.name}], nil
}

func TestMetricsAddUpSlotsAndAddresses(t *testing.T) {
	w := wanted(VIP{Addr: vip, Link: "eth0", Table: table(neighbour, 2)})
	w.Nodes = map[netip.Addr]string{neighbour: "node2"}
	s := newSpreader(Options{Metrics: prometheus.NewRegistry()}, &fakeKernel{})
	rules := w.rules(nil)
	s.installed.Store(rules)
	f := rules.flows[0]
	c := newCollector(s, fakeCounters{
		{netdev, ipv4.vipsOn("eth0")}: {{key: bytesOf(vip), packets: 9, bytes: 900}},
		{netdev, f.slotsSet()}:        {{data: bytesOf(neighbour), packets: 2, bytes: 200}, {data: bytesOf(neighbour), packets: 3, bytes: 300}, {data: bytesOf(other), packets: 1, bytes: 100}},
		{ip4, f.nextSet()}:            {{data: bytesOf(neighbour), packets: 4, bytes: 400}},
	})
	const want = `
# HELP baremetal_spread_forwarded_packets_total Packets that this node has forwarded to the node that carries their flow.
# TYPE baremetal_spread_forwarded_packets_total counter
baremetal_spread_forwarded_packets_total{node="192.0.2.3"} 1
baremetal_spread_forwarded_packets_total{node="node2"} 5
# HELP baremetal_spread_handed_on_packets_total Packets of connections that this node does not know, which it has handed on to the node.
# TYPE baremetal_spread_handed_on_packets_total counter
baremetal_spread_handed_on_packets_total{node="node2"} 4
# HELP baremetal_spread_received_bytes_total Bytes for the address that this node has received from other hosts than speakers.
# TYPE baremetal_spread_received_bytes_total counter
baremetal_spread_received_bytes_total{address="192.0.2.7"} 900
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "baremetal_spread_forwarded_packets_total", "baremetal_spread_handed_on_packets_total", "baremetal_spread_received_bytes_total"); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfMissingTablesAreLeftOut(t *testing.T) {
	w := wanted(VIP{Addr: vip, Link: "eth0", Table: table(neighbour, 2)})
	s := newSpreader(Options{Metrics: prometheus.NewRegistry()}, &fakeKernel{})
	s.installed.Store(w.rules(nil))
	if n := testutil.CollectAndCount(newCollector(s, fakeCounters(nil))); n != 0 {
		t.Errorf("%d metrics", n)
	}
}
