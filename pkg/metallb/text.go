package metallb

import (
	"fmt"
	"slices"
	"strings"
)

// text returns the configuration, and the origin of each of its lines.
func (c *converter) text() (string, []origin) {
	if !c.hasResources {
		return c.legacyText()
	}
	var pools, peers []*element
	for _, p := range c.sortedPools() {
		pools = append(pools, c.poolElement(p))
	}
	for _, p := range c.peers {
		c.checkFamilies(p)
		peers = append(peers, p.out)
	}
	c.noteAdvertisements()
	c.noteEmpty()
	c.demote()
	for _, l := range c.legacy {
		c.note(l.object, "", Ignored, "", "MetalLB does not read this ConfigMap when there are custom resources")
	}
	printed := map[int]bool{}
	body := &writer{comments: func(e *element) []string { return c.comments(e, printed) }}
	body.section("bgp-communities", nil, c.aliases)
	body.section("bfd-profiles", c.profiles, nil)
	body.section("peers", peers, nil)
	body.section("address-pools", pools, nil)
	if len(pools) == 0 {
		body.line(0, origin{}, "")
		body.line(0, origin{}, "address-pools: []")
	}
	head := c.header(printed)
	head.lines, head.origins = append(head.lines, body.lines...), append(head.origins, body.origins...)
	return strings.Join(head.lines, "\n") + "\n", head.origins
}

// comments returns the notes about an element that a person should see there.
func (c *converter) comments(e *element, printed map[int]bool) (texts []string) {
	pool := ""
	if e.from.object != nil && e.from.object.kind == "IPAddressPool" {
		pool = e.from.object.name
	}
	for i, n := range c.notes {
		mine := n.object == e.from.object
		for _, o := range e.also {
			mine = mine || n.object == o
		}
		inPool := n.pool == "" || n.pool == pool || pool == "" && n.object.kind == "BGPAdvertisement"
		if mine && inPool && !printed[i] && n.forPeople() {
			printed[i] = true
			texts = append(texts, n.comment())
		}
	}
	return texts
}

// noteEmpty notes the custom resources without any field, so that each object has a note.
func (c *converter) noteEmpty() {
	noted := map[*object]bool{}
	for _, n := range c.notes {
		noted[n.object] = true
	}
	for _, o := range c.resources {
		if !noted[o] {
			c.note(o, "", Carried, "", "has no field that says anything")
		}
	}
}

// demote corrects the notes of objects that the text does not have, or has only as a comment.
func (c *converter) demote() {
	missing := map[*object]string{}
	for _, p := range c.peers {
		if !p.converted() {
			missing[p.object] = "the text has the peer only as a comment"
		}
	}
	for _, a := range c.l2 {
		if !c.used[a.object] {
			missing[a.object] = "no pool has anything of this advertisement"
		}
	}
	for _, a := range c.bgp {
		if !c.used[a.object] {
			missing[a.object] = "no pool has anything of this advertisement"
		}
	}
	for i := range c.notes {
		if why := missing[c.notes[i].object]; why != "" && c.notes[i].Outcome == Carried {
			c.notes[i].Outcome, c.notes[i].Message, c.notes[i].quiet = NotCarried, why, true
		}
	}
}

// forPeople reports whether the note belongs into the comments.
func (n Note) forPeople() bool {
	return (n.Outcome == Changed || n.Outcome == NotCarried) && !n.quiet
}

func (n Note) comment() string {
	begin := "CHANGED"
	if n.Outcome == NotCarried {
		begin = "NOT CARRIED OVER"
	}
	return fmt.Sprintf("%s: %s %s: %s", begin, n.Kind, strings.TrimSpace(n.Name+" "+n.Field), n.Message)
}

// header returns the comments at the beginning of the text: those that belong to no element.
func (c *converter) header(printed map[int]bool) *writer {
	w := &writer{}
	r := Result{Notes: c.notes}
	w.comment(0, "Converted from MetalLB by kubectl baremetal convert. Read the comments before you apply it.")
	w.comment(0, fmt.Sprintf("Fields carried over: %d, changed: %d, not carried over: %d.", r.Count(Carried), r.Count(Changed), r.Count(NotCarried)))
	if slices.ContainsFunc(c.peers, func(p *peer) bool { return p.converted() && p.external && !p.multihop }) {
		w.comment(0, "External peers must be on a link of the nodes, unless they have ebgp-multihop: true. MetalLB in the mode native does not need that key.")
	}
	services := 0
	for i, n := range c.notes {
		switch {
		case printed[i] || !n.forPeople():
		case n.Kind == "Service":
			services++
		default:
			w.comment(0, n.comment())
		}
	}
	if services > 0 {
		w.comment(0, fmt.Sprintf("Not carried over of Services: %d. They are not listed here, because they are no part of the configuration.", services))
	}
	return w
}
