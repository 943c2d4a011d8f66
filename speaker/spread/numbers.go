package spread

import (
	"net/netip"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// numbers gives numbers to flows.
type numbers struct {
	before map[place]int
	kinds  map[int]kind // of before
	byRef  map[flowsRef]int
	byBody map[flowsBody]int
	used   map[int]bool
	last   int
}

type flowsRef struct {
	kind
	table *Table
}

type flowsBody struct {
	kind
	table Table
}

func newNumbers(before *ruleset) *numbers {
	n := &numbers{kinds: map[int]kind{}, byRef: map[flowsRef]int{}, byBody: map[flowsBody]int{}, used: map[int]bool{}}
	if before != nil {
		n.before = before.numbers
		for _, f := range before.flows {
			n.kinds[f.number] = f.kind
		}
	}
	for _, number := range n.before {
		n.last = max(n.last, number)
	}
	return n
}

// number returns the number of a VIP's flows. isNew is set if no other VIP has it. VIPs with equal
// tables on one link share a number. Flows that keep their number keep their rules, too.
func (n *numbers) number(k kind, v VIP) (number int, isNew bool) {
	ref := flowsRef{k, v.Table}
	if number, ok := n.byRef[ref]; ok {
		return number, false
	}
	body := flowsBody{k, *v.Table}
	if number, ok := n.byBody[body]; ok {
		n.byRef[ref] = number
		return number, false
	}
	number = n.before[place{v.Link, v.Addr}]
	if number == 0 || n.used[number] || n.kinds[number] != k {
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
