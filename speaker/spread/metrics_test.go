package spread

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakeCounters are what the sets have counted, by their families and names. A set without an entry is missing.
type fakeCounters struct {
	sets  map[setName][]count
	looks int
}

func (c *fakeCounters) read([]set) map[setName][]count {
	c.looks++
	return c.sets
}

func TestMetricsAddUpSlotsAndAddresses(t *testing.T) {
	w := wanted(VIP{Addr: vip, Link: "eth0", Table: table(neighbour, 2)})
	w.Nodes = map[netip.Addr]string{neighbour: "node2"}
	s := newSpreader(Options{Metrics: prometheus.NewRegistry()}, &fakeKernel{})
	rules := w.rules(nil)
	s.installed.Store(rules)
	f := rules.flows[0]
	c := newCollector(s, &fakeCounters{sets: map[setName][]count{
		{netdev, ipv4.vipsOn("eth0")}: {{key: bytesOf(vip), packets: 9, bytes: 900}},
		{netdev, f.slotsSet()}:        {{key: slotKey(0), data: bytesOf(neighbour), packets: 2, bytes: 200}, {key: slotKey(2), data: bytesOf(neighbour), packets: 3, bytes: 300}, {key: slotKey(4), data: bytesOf(other), packets: 1, bytes: 100}},
		{ip4, f.nextSet()}:            {{data: bytesOf(neighbour), packets: 4, bytes: 400}},
	}})
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

func TestMetricsOfAddressesEndWithTheAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wanted(VIP{Addr: vip, Link: "eth0", Table: table(neighbour, 2)}, VIP{Addr: vip.Next(), Link: "eth0", Table: table(neighbour, 2)})
		s := newSpreader(Options{Metrics: prometheus.NewRegistry()}, &fakeKernel{})
		s.installed.Store(w.rules(nil))
		fake := &fakeCounters{sets: map[setName][]count{{netdev, ipv4.vipsOn("eth0")}: {{key: bytesOf(vip), packets: 9}, {key: bytesOf(vip.Next()), packets: 9}}}}
		c := newCollector(s, fake)
		for _, want := range []int{2, 1} {
			if n := testutil.CollectAndCount(c, "baremetal_spread_received_packets_total"); n != want {
				t.Errorf("%d metrics, want %d", n, want)
			}
			fake.sets = nil
			w.VIPs = w.VIPs[:1]
			s.installed.Store(w.rules(nil))
			time.Sleep(readInterval)
		}
	})
}

// A scrape sees the counters of a set at some times. rate() of Prometheus takes a fall for a restart, and adds all of
// the new value.
func TestMetricsNeverFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wanted(VIP{Addr: vip, Link: "eth0", Table: table(neighbour, 2)})
		w.Nodes = map[netip.Addr]string{neighbour: "node2", other: "node3"}
		s := newSpreader(Options{Metrics: prometheus.NewRegistry()}, &fakeKernel{})
		rules := w.rules(nil)
		s.installed.Store(rules)
		slots := setName{netdev, rules.flows[0].slotsSet()}
		at := func(slot int, node netip.Addr, packets uint64) count {
			return count{key: slotKey(slot), data: bytesOf(node), packets: packets, bytes: 100 * packets}
		}
		fake := &fakeCounters{}
		c := newCollector(s, fake)
		for _, step := range []struct {
			what         string
			counts       []count
			node2, node3 int
		}{
			{"at first", []count{at(0, neighbour, 10), at(2, neighbour, 5)}, 15, 0},
			{"more packets", []count{at(0, neighbour, 12), at(2, neighbour, 5)}, 17, 0},
			{"a slot moves", []count{at(0, neighbour, 12), at(2, other, 3)}, 17, 3},
			{"the kernel does not answer", nil, 17, 3},
			{"it answers again", []count{at(0, neighbour, 13), at(2, other, 3)}, 18, 3},
			{"the slot moves back", []count{at(0, neighbour, 13), at(2, neighbour, 2)}, 20, 3},
			{"the tables were written anew", []count{at(0, neighbour, 1)}, 21, 3},
			{"no rules", nil, 21, 3},
		} {
			fake.sets = map[setName][]count{slots: step.counts}
			if step.counts == nil {
				fake.sets = nil
			}
			time.Sleep(readInterval)
			want := fmt.Sprintf("# HELP baremetal_spread_forwarded_packets_total Packets that this node has forwarded to the node that carries their flow.\n"+
				"# TYPE baremetal_spread_forwarded_packets_total counter\nbaremetal_spread_forwarded_packets_total{node=\"node2\"} %d\n", step.node2)
			if step.node3 > 0 {
				want += fmt.Sprintf("baremetal_spread_forwarded_packets_total{node=\"node3\"} %d\n", step.node3)
			}
			if err := testutil.CollectAndCompare(c, strings.NewReader(want), "baremetal_spread_forwarded_packets_total"); err != nil {
				t.Errorf("%s: %v", step.what, err)
			}
		}
		looks := fake.looks
		testutil.CollectAndCount(c)
		testutil.CollectAndCount(c)
		if fake.looks != looks {
			t.Errorf("%d looks at once", fake.looks-looks+1)
		}
	})
}
