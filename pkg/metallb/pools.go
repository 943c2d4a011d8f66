package metallb

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// nobody selects no node. A pool that MetalLB does not announce has it.
const (
	nobodyLabel = "lb.baremetal/announces"
	nobodyValue = "unannounced-pools"
)

// selects reports whether an advertisement with these names and selectors is for the pool.
// Without both it is for all pools.
func selects(p *pool, names []item, selectors []selector) bool {
	if len(names) == 0 && len(selectors) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(n item) bool { return n.text == p.name }) ||
		slices.ContainsFunc(selectors, func(s selector) bool { return s.Matches(labels.Set(p.labels)) })
}

func (c *converter) l2For(p *pool) (found []*l2Advertisement) {
	for _, a := range c.l2 {
		if selects(p, a.poolNames, a.poolSelectors) {
			found = append(found, a)
		}
	}
	return found
}

func (c *converter) bgpFor(p *pool) (found []*bgpAdvertisement) {
	for _, a := range c.bgp {
		if selects(p, a.poolNames, a.poolSelectors) {
			found = append(found, a)
		}
	}
	return found
}

// sortedPools returns the pools in the order in which MetalLB tries them: first those with
// serviceAllocation, by priority.
func (c *converter) sortedPools() []*pool {
	last := int64(1) << 62 // after all priorities
	rank := func(p *pool) int64 {
		switch {
		case !p.pinned:
			return last + 1
		case p.priority == 0:
			return last
		}
		return p.priority
	}
	sorted := slices.Clone(c.pools)
	slices.SortStableFunc(sorted, func(a, b *pool) int { return cmp.Compare(rank(a), rank(b)) })
	return sorted
}

// poolElement returns an element of address-pools.
func (c *converter) poolElement(p *pool) *element {
	e := &element{from: origin{object: p.object}}
	e.add("name", origin{p.object, nameField, p.line(nameField)}, scalar(p.name))
	l2, bgp := c.l2Used(p), c.bgpUsed(p)
	protocol, from := "layer2", origin{object: p.object}
	switch {
	case len(l2) > 0 && len(bgp) > 0:
		protocol = "both"
	case len(c.bgpFor(p)) > 0 && len(l2) == 0:
		protocol = "bgp"
	}
	e.add("protocol", from, scalar(protocol))
	e.entries = append(e.entries, p.addresses.entries...)
	e.entries = append(e.entries, p.serves.entries...)
	for _, a := range c.l2For(p) {
		e.also = append(e.also, a.object)
	}
	for _, a := range l2 {
		c.used[a.object] = true
	}
	for _, a := range bgp {
		c.used[a.object] = true
	}
	for _, a := range c.bgpFor(p) {
		if !slices.ContainsFunc(bgp, func(b bgpUse) bool { return b.bgpAdvertisement == a }) {
			e.also = append(e.also, a.object)
		}
	}
	if len(l2)+len(bgp) == 0 {
		c.unannounced(p, e, protocol)
		return e
	}
	nodes := c.nodesOf(p, l2, bgp)
	e.addSelectors("node-selectors", from, nodes)
	e.addItems("interfaces", from, c.interfacesOf(p, l2))
	c.addRoutes(p, e, bgp)
	return e
}

// unannounced makes a pool give addresses that no node announces, as in MetalLB.
func (c *converter) unannounced(p *pool, e *element, protocol string) {
	none := flow(mapping, scalar("match-labels"), flow(mapping, scalar(nobodyLabel), scalar(nobodyValue)))
	e.add("node-selectors", origin{object: p.object}, []listItem{{none, origin{object: p.object}}})
	if protocol == "bgp" {
		return // the advertisements say why nothing is left
	}
	c.note(p.object, "", Changed, "node-selectors", "no advertisement is for this pool, so MetalLB announces its addresses nowhere. "+
		"node-selectors selects no node here, so that nothing is announced either. To announce them, remove node-selectors and check protocol")
}

// l2Used returns the advertisements whose settings the pool gets. An advertisement for some
// Services is left out if another is for all.
func (c *converter) l2Used(p *pool) (used []*l2Advertisement) {
	all := c.l2For(p)
	general := slices.ContainsFunc(all, func(a *l2Advertisement) bool { return len(a.serviceSelectors) == 0 })
	for _, a := range all {
		if len(a.serviceSelectors) > 0 {
			c.someServices(p, a.object, general)
			if general {
				continue
			}
		}
		used = append(used, a)
	}
	return used
}

// someServices notes that an advertisement is for some Services only.
func (c *converter) someServices(p *pool, o *object, leftOut bool) {
	what := "its settings are used for all Services of the pool"
	if leftOut {
		what = "it is left out, because another advertisement is for all Services of the pool"
	}
	c.noteIn(p.name, o, "spec.serviceSelectors", NotCarried, "", "%s: %s", what, c.table.advice(o.kind, "spec.serviceSelectors"))
}

// bgpUse is an advertisement as a pool uses it.
type bgpUse struct {
	*bgpAdvertisement
	to []item // the peers, empty for all
}

func (c *converter) bgpUsed(p *pool) (used []bgpUse) {
	all := c.bgpFor(p)
	general := slices.ContainsFunc(all, func(a *bgpAdvertisement) bool { return len(a.serviceSelectors) == 0 })
	for _, a := range all {
		if len(a.serviceSelectors) > 0 {
			c.someServices(p, a.object, general)
			if general {
				continue
			}
		}
		to, ok := c.peersOf(p, a)
		if ok {
			used = append(used, bgpUse{a, to})
		}
	}
	return used
}

// peersOf returns the peers of an advertisement that the text has. It returns false if the
// advertisement names peers, and the text has none of them.
func (c *converter) peersOf(p *pool, a *bgpAdvertisement) (to []item, ok bool) {
	var missing, left []string
	for _, name := range a.peers {
		i := slices.IndexFunc(c.peers, func(p *peer) bool { return p.name == name.text })
		switch {
		case i < 0:
			missing = append(missing, name.text)
		case !c.peers[i].converted():
			left = append(left, name.text)
		case !slices.ContainsFunc(to, func(n item) bool { return n.text == name.text }):
			to = append(to, name)
		}
	}
	ending := ""
	if len(to) == 0 {
		ending = ". So the pool does not have this advertisement"
	}
	if len(missing) > 0 {
		c.noteIn(p.name, a.object, "spec.peers", NotCarried, "peers", "there is no BGPPeer %s, and MetalLB advertises nothing to it%s", quoted(missing), ending)
	}
	if len(left) > 0 {
		c.noteIn(p.name, a.object, "spec.peers", NotCarried, "peers", "BGPPeer %s is not carried over%s", quoted(left), ending)
	}
	return to, len(to) > 0 || len(a.peers) == 0
}

// addRoutes adds bgp-advertisements, unless there is only one and it is the default.
func (c *converter) addRoutes(p *pool, e *element, bgp []bgpUse) {
	var routes []*element
	seen := map[string]*bgpAdvertisement{}
	for _, a := range bgp {
		route := &element{from: origin{object: a.object}, also: []*object{a.object}}
		route.entries = slices.Clone(a.route.entries)
		route.addItems("peers", origin{a.object, "spec.peers", a.line("spec.peers")}, a.to)
		if first := seen[route.identity()]; first != nil {
			c.noteIn(p.name, a.object, "", Carried, "bgp-advertisements", "makes the same routes as BGPAdvertisement %s", first.name)
			continue
		}
		seen[route.identity()] = a.bgpAdvertisement
		routes = append(routes, route)
	}
	if len(routes) == 1 && len(routes[0].entries) == 0 {
		e.also = append(e.also, routes[0].from.object)
		return
	}
	for _, route := range routes {
		if len(route.entries) == 0 { // an empty mapping would be easy to overlook
			route.add("aggregation-length", route.from, integer(32))
		}
	}
	e.addElements("bgp-advertisements", origin{object: p.object}, routes)
}

// noteAdvertisements notes what became of the fields of the advertisements. A field that
// has a note already, because something was different in a pool, gets no other.
func (c *converter) noteAdvertisements() {
	for _, a := range c.l2 {
		c.noteSelection(a.object, a.poolNames, a.poolSelectors)
		c.spec(a.object).carryUnlessNoted("nodeSelectors", "interfaces", "serviceSelectors")
	}
	for _, a := range c.bgp {
		c.noteSelection(a.object, a.poolNames, a.poolSelectors)
		c.spec(a.object).carryUnlessNoted("nodeSelectors", "peers", "serviceSelectors")
	}
}

// noteSelection notes which pools an advertisement is for.
func (c *converter) noteSelection(o *object, wanted []item, selectors []selector) {
	f := c.spec(o)
	var missing []string
	for _, n := range wanted {
		if !slices.ContainsFunc(c.pools, func(p *pool) bool { return p.name == n.text }) {
			missing = append(missing, n.text)
		}
	}
	if len(missing) > 0 {
		c.note(o, f.at("ipAddressPools"), NotCarried, "", "there is no IPAddressPool %s; MetalLB ignores a name without a pool", quoted(missing))
	}
	switch {
	case !slices.ContainsFunc(c.pools, func(p *pool) bool { return selects(p, wanted, selectors) }):
		c.note(o, "", NotCarried, "", "is for no pool, so nothing comes from it")
	case len(wanted)+len(selectors) == 0:
		c.note(o, "", Carried, "protocol", "is for all pools")
	}
	if len(selectors) > 0 {
		var found []string
		for _, p := range c.pools {
			if selects(p, nil, selectors) {
				found = append(found, p.name)
			}
		}
		c.note(o, f.at("ipAddressPoolSelectors"), Carried, f.key("ipAddressPoolSelectors"), "selects now: %s. Pools have no labels here: a pool that you add later says itself how it is announced", cmp.Or(quoted(found), "no pool"))
	}
	c.spec(o).carryUnlessNoted("ipAddressPools", "ipAddressPoolSelectors")
}
