package spread

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// ruleset is what the tables in the kernel contain.
type ruleset struct {
	links    []link   // by name
	flows    []flows  // by number
	elements elements // of the sets
	// numbers are those of the flows that the VIPs use. tables are the Tables of the numbers.
	numbers map[place]int
	tables  map[int]*Table
	// nodes are the names of the nodes by their addresses on the links.
	nodes map[netip.Addr]string
}

// link is one on which flows are spread.
type link struct {
	name       string
	index      int
	ipv4, ipv6 bool // whether it has VIPs of the family
}

// flows are the rules and sets for the VIPs that share a Table.
type flows struct {
	number int
	kind
	index int // of the link
	ring  int // Table.Ring; the rules change with it, and the sets do not
}

// kind is what flows must have in common to share their sets.
type kind struct {
	link      string
	ipv6      bool
	byAddress bool
}

// place is a VIP on a link.
type place struct {
	link string
	addr netip.Addr
}

// setName identifies a set: a table has one family.
type setName struct {
	family byte
	name   string
}

func (n setName) compare(o setName) int {
	return cmp.Or(cmp.Compare(n.family, o.family), cmp.Compare(n.name, o.name))
}

// elements are the elements of the sets, in the order of their keys. Empty sets are left out.
type elements map[setName][]element

// element is an element of a set, as the kernel has it. Of a map it has a value: data, or the
// chain to which a packet goes.
type element struct{ key, data, chain string }

func (e element) compare(o element) int {
	return cmp.Or(cmp.Compare(e.key, o.key), cmp.Compare(e.data, o.data), cmp.Compare(e.chain, o.chain))
}

func (r *ruleset) isEmpty() bool { return len(r.links) == 0 }

// rules returns the content of the tables. A VIP keeps the number that it has in before, so that
// only the slots change that move. before may be nil.
func (w *Wanted) rules(before *ruleset) *ruleset {
	r := &ruleset{elements: elements{}, numbers: map[place]int{}, tables: map[int]*Table{}, nodes: w.Nodes}
	n, keys := newNumbers(before), newKeys()
	for _, v := range w.vips() {
		k := kind{link: v.Link, ipv6: v.Addr.Is6(), byAddress: v.ByAddress}
		number, isNew := n.number(k, v)
		r.numbers[place{v.Link, v.Addr}] = number
		f := flows{number: number, kind: k, index: w.Links[v.Link], ring: v.Table.Ring}
		if isNew {
			r.addFlows(f, v.Table, keys, before)
		}
		r.addVIP(f, v.Addr)
	}
	if !r.isEmpty() {
		for _, mac := range w.Members {
			r.put(netdev, members, element{key: string(mac[:])})
		}
	}
	for set, all := range r.elements {
		if len(all) == 0 {
			delete(r.elements, set)
			continue
		}
		if !slices.IsSortedFunc(all, element.compare) {
			slices.SortFunc(all, element.compare)
		}
		r.elements[set] = slices.Compact(all)
	}
	slices.SortFunc(r.flows, flows.compare)
	return r
}

// vips returns the VIPs on links that exist, ordered by their links.
func (w *Wanted) vips() []VIP {
	vips := slices.DeleteFunc(slices.Clone(w.VIPs), func(v VIP) bool { return w.Links[v.Link] == 0 })
	slices.SortFunc(vips, func(a, b VIP) int { return cmp.Or(cmp.Compare(a.Link, b.Link), a.Addr.Compare(b.Addr)) })
	return vips
}

func (r *ruleset) put(family byte, set string, e element) {
	name := setName{family, set}
	r.elements[name] = append(r.elements[name], e)
}

// addFlows adds flows and the elements of their sets. With many Tables the elements are many, so those
// of a Table that before has are not made again.
func (r *ruleset) addFlows(f flows, t *Table, k *keys, before *ruleset) {
	r.flows = append(r.flows, f)
	r.tables[f.number] = t
	slots, next := setName{netdev, f.slotsSet()}, setName{f.version().family, f.nextSet()}
	if before != nil && before.tables[f.number] == t {
		r.elements[slots], r.elements[next] = before.elements[slots], before.elements[next]
		return
	}
	r.elements[slots], r.elements[next] = k.elements(&t.Carriers, 0), slices.Concat(k.elements(&t.Next, 0), k.elements(&t.Last, lastSlots))
}

func (r *ruleset) addVIP(f flows, vip netip.Addr) {
	i := len(r.links) - 1
	if i < 0 || r.links[i].name != f.link {
		r.links = append(r.links, link{name: f.link, index: f.index})
		i++
	}
	r.links[i].ipv4 = r.links[i].ipv4 || !f.ipv6
	r.links[i].ipv6 = r.links[i].ipv6 || f.ipv6
	v := f.version()
	for _, family := range []byte{netdev, v.family} {
		r.put(family, v.vipsOn(f.link), element{key: bytesOf(vip), chain: f.chain()})
	}
}

func (f flows) version() ipVersion {
	if f.ipv6 {
		return ipv6
	}
	return ipv4
}

func (f flows) chain() string    { return fmt.Sprint("flows-", f.number) }
func (f flows) slotsSet() string { return fmt.Sprint("slots-", f.number) }
func (f flows) nextSet() string  { return fmt.Sprint("next-", f.number) }

func bytesOf(a netip.Addr) string { return string(a.AsSlice()) }

// slotKey is a slot as the register holds it.
func slotKey(slot int) string { return string(native(uint32(slot))) }
