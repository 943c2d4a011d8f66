package spread

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/prometheus/client_golang/prometheus"
)

// counters reads what the sets have counted.
type counters interface {
	read(set) ([]count, error)
}

// count is what an element of a set has counted.
type count struct {
	key, data      string
	packets, bytes uint64
}

func (tables) read(s set) ([]count, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	elements, err := conn.GetSetElements(&nftables.Set{Table: &nftables.Table{Name: TableName, Family: nftables.TableFamily(s.family)}, Name: s.name})
	if err != nil {
		return nil, fmt.Errorf("reading the set %s of the table %s: %w", s.name, TableName, err)
	}
	counts := make([]count, len(elements))
	for i, e := range elements {
		counts[i] = count{key: string(e.Key), data: string(e.Val)}
		if e.Counter != nil {
			counts[i].packets, counts[i].bytes = e.Counter.Packets, e.Counter.Bytes
		}
	}
	return counts, nil
}

// collector reads the counters when the metrics are read. They begin at 0 when the
// tables are written anew.
type collector struct {
	spreader                      *Spreader
	counters                      counters
	received, forwarded, handedOn volume
}

// volume is a metric for packets and one for bytes.
type volume struct{ packets, bytes *prometheus.Desc }

func newVolume(name, what, label string) volume {
	return volume{
		prometheus.NewDesc("baremetal_spread_"+name+"_packets_total", "Packets "+what, []string{label}, nil),
		prometheus.NewDesc("baremetal_spread_"+name+"_bytes_total", "Bytes "+what, []string{label}, nil),
	}
}

func newCollector(s *Spreader, c counters) *collector {
	return &collector{
		spreader: s, counters: c,
		received:  newVolume("received", "for the address that this node has received from other hosts than speakers.", "address"),
		forwarded: newVolume("forwarded", "that this node has forwarded to the node that carries their flow.", "node"),
		handedOn:  newVolume("handed_on", "of connections that this node does not know, which it has handed on to the node.", "node"),
	}
}

func (c *collector) volumes() []volume { return []volume{c.received, c.forwarded, c.handedOn} }

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, v := range c.volumes() {
		out <- v.packets
		out <- v.bytes
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	r := c.spreader.installed.Load()
	if r == nil || r.isEmpty() {
		return
	}
	sums := map[volume]map[string]count{}
	for _, v := range c.volumes() {
		sums[v] = map[string]count{}
	}
	for _, s := range r.counting() {
		counts, err := c.counters.read(s)
		if err != nil {
			return // an error here would hide all metrics of the speaker; Run repairs the tables
		}
		for _, n := range counts {
			to, label := c.handedOn, r.node(n.data)
			switch {
			case s.goTo:
				to, label = c.received, addrOf(n.key).String()
			case s.family == netdev:
				to = c.forwarded
			}
			sum := sums[to][label]
			sums[to][label] = count{packets: sum.packets + n.packets, bytes: sum.bytes + n.bytes}
		}
	}
	for v, byLabel := range sums {
		for label, sum := range byLabel {
			out <- prometheus.MustNewConstMetric(v.packets, prometheus.CounterValue, float64(sum.packets), label)
			out <- prometheus.MustNewConstMetric(v.bytes, prometheus.CounterValue, float64(sum.bytes), label)
		}
	}
}

func addrOf(key string) netip.Addr {
	addr, _ := netip.AddrFromSlice([]byte(key)) // the kernel returns what was put there
	return addr
}

// node returns the name of the node with an address on a link, or the address itself.
func (r *ruleset) node(key string) string {
	if name, ok := r.nodes[addrOf(key)]; ok {
		return name
	}
	return addrOf(key).String()
}
