package closedports

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// The sets of the table.
const (
	addrs4    = "addresses4"
	addrs6    = "addresses6"
	networks4 = "networks4"
	networks6 = "networks6"
	taken4    = "taken4" // address, protocol and port
	taken6    = "taken6"
	linkNames = "links"
	alive     = "alive" // families; its elements end with the lifetime
)

// contents are the elements of the sets, by the name of the set, in order and each once.
// Empty sets are left out.
type contents map[string][]element

// element is an element of a set: its key as the kernel has it. A set of networks has two
// elements for each range: its first address, and the first address after it, its end.
type element struct {
	key string
	end bool
}

func (e element) compare(o element) int {
	if c := cmp.Compare(e.key, o.key); c != 0 || e.end == o.end {
		return c
	}
	if e.end {
		return -1
	}
	return 1
}

// contents returns the elements for what is wanted.
func (w Wanted) contents() contents {
	c := contents{}
	put := func(addr netip.Addr, set4, set6, key string) {
		set := set4
		if addr.Is6() {
			set = set6
		}
		c[set] = append(c[set], element{key: key})
	}
	for _, a := range w.Addrs {
		put(a, addrs4, addrs6, bytesOf(a))
	}
	for _, p := range w.Taken {
		// Each part of a key that has several begins at a multiple of four bytes.
		put(p.Addr, taken4, taken6, bytesOf(p.Addr)+string([]byte{p.Protocol, 0, 0, 0, byte(p.Number >> 8), byte(p.Number), 0, 0}))
	}
	for _, name := range w.Links {
		c[linkNames] = append(c[linkNames], element{key: ifname(name)})
	}
	for set, elements := range c {
		slices.SortFunc(elements, element.compare)
		c[set] = slices.Compact(elements)
	}
	for _, r := range ranges(w.Networks) {
		set := networks4
		if r.first.Is6() {
			set = networks6
		}
		c[set] = append(c[set], element{key: bytesOf(r.first)})
		if after := r.last.Next(); after.IsValid() { // else the range ends with the last address that exists
			c[set] = append(c[set], element{key: bytesOf(after), end: true})
		}
	}
	return c
}

func bytesOf(a netip.Addr) string { return string(a.AsSlice()) }

// ifname returns the name of an interface as the kernel compares it: 16 bytes, filled with
// zeros.
func ifname(name string) string {
	var b [16]byte
	copy(b[:len(b)-1], name)
	return string(b[:])
}

// addrRange is a range of addresses, both ends included.
type addrRange struct{ first, last netip.Addr }

// ranges returns the addresses of the networks as ranges that neither overlap nor touch.
func ranges(networks []netip.Prefix) (all []addrRange) {
	for _, n := range slices.SortedFunc(slices.Values(networks), comparePrefixes) {
		r := addrRange{n.Masked().Addr(), lastAddr(n)}
		if i := len(all) - 1; i >= 0 && r.first.BitLen() == all[i].last.BitLen() && (r.first.Compare(all[i].last) <= 0 || r.first == all[i].last.Next()) {
			if r.last.Compare(all[i].last) > 0 {
				all[i].last = r.last
			}
			continue
		}
		all = append(all, r)
	}
	return all
}

// comparePrefixes orders by the first address.
func comparePrefixes(a, b netip.Prefix) int { return a.Masked().Addr().Compare(b.Masked().Addr()) }

func lastAddr(n netip.Prefix) netip.Addr {
	b := n.Addr().AsSlice()
	for bit := n.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b) // the length is right
	return addr
}

// change returns what to remove from the sets and to add to them, so that a table with the
// elements before has the elements after. The two ends of a range belong together, so a set
// of networks that changes is emptied and filled again.
func change(before, after contents) (remove, add contents) {
	remove, add = contents{}, contents{}
	names := maps.Clone(before)
	maps.Copy(names, after)
	for name := range names {
		gone, fresh := before[name], after[name]
		if slices.Equal(gone, fresh) {
			continue
		}
		if name != networks4 && name != networks6 {
			gone, fresh = without(gone, fresh), without(fresh, gone)
		}
		if len(gone) > 0 {
			remove[name] = gone
		}
		if len(fresh) > 0 {
			add[name] = fresh
		}
	}
	return remove, add
}

// without returns the elements of all that are not in others. Both are in order.
func without(all, others []element) (rest []element) {
	for _, e := range all {
		if _, found := slices.BinarySearchFunc(others, e, element.compare); !found {
			rest = append(rest, e)
		}
	}
	return rest
}
