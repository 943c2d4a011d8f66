package spread

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/prometheus/client_golang/prometheus"
)

// readInterval is the shortest time between two looks at the counters: with many Services they are in
// thousands of sets.
const readInterval = 5 * time.Second

// counters reads what the sets have counted.
type counters interface {
	// read leaves out sets that it cannot read. They may be gone: Run changes them at the same time.
	read([]set) map[setName][]count
}

// count is what an element of a set has counted.
type count struct {
	key, data      string
	packets, bytes uint64
}

func (tables) read(sets []set) map[setName][]count {
	all := map[setName][]count{}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return all
	}
	defer func() { _ = conn.CloseLasting() }()
	for _, s := range sets {
		elements, err := conn.GetSetElements(&nftables.Set{Table: &nftables.Table{Name: TableName, Family: nftables.TableFamily(s.family)}, Name: s.name})
		if err != nil {
			continue // the library does not say which error the kernel has returned
		}
		counts := make([]count, 0, len(elements))
		for _, e := range elements {
			if e.Counter != nil && e.Counter.Packets > 0 {
				counts = append(counts, count{string(e.Key), string(e.Val), e.Counter.Packets, e.Counter.Bytes})
			}
		}
		all[setName{s.family, s.name}] = counts
	}
	return all
}

// collector reads the counters when the metrics are read. The counter of an element ends with it, when its slot
// moves. So the collector has the sums, and adds by how much each element has grown since the last look.
type collector struct {
	spreader                      *Spreader
	counters                      counters
	received, forwarded, handedOn volume

	mu   sync.Mutex
	at   time.Time // of the last look
	sums map[label]count
	last map[countedElement]count
}

// label is one value of a metric.
type label struct {
	volume volume
	value  string
}

// countedElement is an element of a set: if its slot gets another node, it is another element.
type countedElement struct {
	set       setName
	key, data string
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
		spreader: s, counters: c, sums: map[label]count{}, last: map[countedElement]count{},
		received:  newVolume("received", "for the address that this node has received from other hosts than speakers.", "address"),
		forwarded: newVolume("forwarded", "that this node has forwarded to the node that carries their flow.", "node"),
		handedOn:  newVolume("handed_on", "of connections that this node does not know, which it has handed on to the node.", "node"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, v := range []volume{c.received, c.forwarded, c.handedOn} {
		out <- v.packets
		out <- v.bytes
	}
}

// Collect implements prometheus.Collector. An error here would hide all metrics of the speaker, so the sums
// stay as they are while the kernel does not answer.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.at) >= readInterval {
		c.at = now
		c.look()
	}
	for to, sum := range c.sums {
		out <- prometheus.MustNewConstMetric(to.volume.packets, prometheus.CounterValue, float64(sum.packets), to.value)
		out <- prometheus.MustNewConstMetric(to.volume.bytes, prometheus.CounterValue, float64(sum.bytes), to.value)
	}
}

// look adds what was counted since the last look. Elements that are gone are forgotten, and so are the sums of
// addresses that are not spread any more.
func (c *collector) look() {
	r := c.spreader.installed.Load()
	if r == nil {
		return
	}
	sets := r.counting()
	counts := c.counters.read(sets)
	seen := map[countedElement]count{}
	unread := map[setName]bool{}
	for _, s := range sets {
		name := setName{s.family, s.name}
		all, ok := counts[name]
		unread[name] = !ok
		for _, n := range all {
			e := countedElement{name, n.key, n.data}
			before := c.last[e]
			if n.packets < before.packets { // it was removed, and added again
				before = count{}
			}
			to := c.labelOf(s, n, r)
			sum := c.sums[to]
			c.sums[to] = count{packets: sum.packets + n.packets - before.packets, bytes: sum.bytes + n.bytes - before.bytes}
			seen[e] = n
		}
	}
	for e, n := range c.last {
		if unread[e.set] {
			seen[e] = n
		}
	}
	c.last = seen
	addrs := map[string]bool{}
	for at := range r.numbers {
		addrs[at.addr.String()] = true
	}
	maps.DeleteFunc(c.sums, func(l label, _ count) bool { return l.volume == c.received && !addrs[l.value] })
}

func (c *collector) labelOf(s set, n count, r *ruleset) label {
	switch {
	case s.goTo:
		return label{c.received, addrOf(n.key).String()}
	case s.family == netdev:
		return label{c.forwarded, r.node(n.data)}
	}
	return label{c.handedOn, r.node(n.data)}
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
