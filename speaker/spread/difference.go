package spread

import (
	"cmp"
	"maps"
	"slices"
)

// difference is how a ruleset differs from another one with the same links.
type difference struct {
	gone, fresh []flows
	// rings are the flows, as they are after the change, of which only the size of the ring changes.
	rings []flows
	// remove and add are elements. The sets of gone flows end with all their elements, so these are not
	// in remove.
	remove, add elements
}

func (d difference) isEmpty() bool {
	return len(d.gone)+len(d.fresh)+len(d.rings)+len(d.remove)+len(d.add) == 0
}

// difference returns what makes the ruleset the same as after. Both have the same links.
func (r *ruleset) difference(after *ruleset) difference {
	var d difference
	d.remove, d.add = r.elements.change(after.elements)
	d.gone, _ = withoutFlows(r.flows, after.flows)
	d.fresh, d.rings = withoutFlows(after.flows, r.flows)
	for _, f := range d.gone {
		for _, set := range f.sets() {
			delete(d.remove, setName{set.family, set.name})
		}
	}
	return d
}

// withoutFlows returns the flows of all that are not in others, and those that are there with another size of
// the ring. Both are in order.
func withoutFlows(all, others []flows) (rest, rings []flows) {
	for _, f := range all {
		i, found := slices.BinarySearchFunc(others, f, flows.compare)
		switch {
		case !found || !others[i].sharesSets(f):
			rest = append(rest, f)
		case others[i] != f:
			rings = append(rings, f)
		}
	}
	return rest, rings
}

// sharesSets reports whether flows of one number have the same sets, whatever their rings are.
func (f flows) sharesSets(o flows) bool { return f.kind == o.kind && f.index == o.index }

func (f flows) compare(o flows) int { return cmp.Compare(f.number, o.number) }

// change returns what to remove and what to add, so that the sets with these elements have
// the elements of after.
func (e elements) change(after elements) (remove, add elements) {
	remove, add = elements{}, elements{}
	names := maps.Clone(e)
	maps.Copy(names, after)
	for name := range names {
		if gone := without(e[name], after[name]); len(gone) > 0 {
			remove[name] = gone
		}
		if fresh := without(after[name], e[name]); len(fresh) > 0 {
			add[name] = fresh
		}
	}
	return remove, add
}

// without returns the elements of all that are not in others. Both are in order.
func without(all, others []element) (rest []element) {
	for _, e := range all {
		for len(others) > 0 && others[0].compare(e) < 0 {
			others = others[1:]
		}
		if len(others) == 0 || others[0] != e {
			rest = append(rest, e)
		}
	}
	return rest
}
