package spread

import (
	"net/netip"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// numbers gives numbers to flows.
type numbers struct {
	before map[place]int
	kinds  map[int]flows // of before, without the numbers and the indexes of their links
	byRef  map[flowsRef]int
	byBody map[flowsBody]int
	used   map[int]bool
	last   int
}

type flowsRef struct {
	flows
	table *Table
}

type flowsBody struct {
	flows
	table Table
}

func newNumbers(before *ruleset) *numbers {
	n := &numbers{kinds: map[int]flows{}, byRef: map[flowsRef]int{}, byBody: map[flowsBody]int{}, used: map[int]bool{}}
	if before != nil {
		n.before = before.numbers
		for _, f := range before.flows {
			number := f.number
			f.number, f.index = 0, 0
			n.kinds[number] = f
		}
	}
	for _, number := range n.before {
		n.last = max(n.last, number)
	}
	return n
}

// number returns the number of a VIP's flows. isNew is set if no other VIP has it. VIPs with equal
// tables on one link share a number. Flows that keep their number keep their rules, too.
func (n *numbers) number(v VIP) (number int, isNew bool) {
	kind := flows{link: v.Link, ipv6: v.Addr.Is6(), byAddress: v.ByAddress, ring: v.Table.Ring}
	ref := flowsRef{kind, v.Table}
	if number, ok := n.byRef[ref]; ok {
		return number, false
	}
	body := flowsBody{kind, *v.Table}
	if number, ok := n.byBody[body]; ok {
		n.byRef[ref] = number
		return number, false
	}
	number = n.before[place{v.Link, v.Addr}]
	if number == 0 || n.used[number] || n.kinds[number] != kind {
		n.last++
		number = n.last
	}
	n.used[number], n.byRef[ref], n.byBody[body] = true, number, number
	return number, true
}

// keys has each key and each address once: with many Tables the elements are many.
type keys struct {
	slots [lastSlots + election.Slots]string
	addrs map[netip.Addr]string
}

func newKeys() *keys {
	k := &keys{addrs: map[netip.Addr]string{}}
	for slot := range k.slots {
		k.slots[slot] = slotKey(slot)
	}
	return k
}

// elements returns the elements of a map from slots to nodes. first is the key of slot 0.
func (k *keys) elements(nodes *[election.Slots]netip.Addr, first int) []element {
	count := 0
	for _, node := range nodes {
		if node.IsValid() {
			count++
		}
	}
	all := make([]element, 0, count)
	for slot, node := range nodes {
		if !node.IsValid() {
			continue
		}
		data, ok := k.addrs[node]
		if !ok {
			data = bytesOf(node)
			k.addrs[node] = data
		}
		all = append(all, element{key: k.slots[first+slot], data: data})
	}
	return all
}
