package ui

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Move is a change between two pictures.
type Move struct {
	// Time is that of the picture after the change, After that of the picture before it.
	Time  time.Time `json:"time"`
	After time.Time `json:"after"`
	Text  string    `json:"text"`
}

// namedInMove is how many addresses the text of a Move names.
const namedInMove = 3

// Moves returns what differs between two pictures: first the nodes and their sessions, because they
// are often the cause, then the addresses.
func Moves(before, after Picture) []Move {
	texts := nodeMoves(before.Nodes, after.Nodes)
	texts = append(texts, addressMoves(before.Addresses, after.Addresses)...)
	moves := make([]Move, 0, len(texts))
	for _, text := range texts {
		moves = append(moves, Move{Time: after.Time, After: before.Time, Text: text})
	}
	return moves
}

func nodeMoves(before, after []Node) (texts []string) {
	old := map[string]Node{}
	for _, n := range before {
		old[n.Name] = n
	}
	for _, n := range after {
		was, ok := old[n.Name]
		delete(old, n.Name)
		switch {
		case !ok:
			texts = append(texts, fmt.Sprintf("%s is new: %s", n.Name, n.State))
		case was.State != n.State:
			texts = append(texts, fmt.Sprintf("%s was %s, and is %s now", n.Name, was.State, n.State)+because(n.Why))
		}
		if ok && len(was.Sessions)+len(n.Sessions) > 0 {
			texts = append(texts, sessionMoves(n.Name, was.Sessions, n.Sessions)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		texts = append(texts, name+" has no speaker any more")
	}
	return texts
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// sessionMoves says which sessions of a node came up or went down. A node that does not answer has
// no sessions, and nothing is said about it.
func sessionMoves(node string, before, after []Session) (texts []string) {
	for _, s := range after {
		i := slices.IndexFunc(before, func(b Session) bool { return b.Peer == s.Peer && b.Address == s.Address })
		if i < 0 || before[i].Up == s.Up {
			continue
		}
		if s.Up {
			texts = append(texts, fmt.Sprintf("%s: the BGP session with %s came up", node, s.Peer))
		} else {
			texts = append(texts, fmt.Sprintf("%s: the BGP session with %s went down", node, s.Peer)+because(s.Problem))
		}
	}
	return texts
}

// sentence is what stands before and after the addresses in the text of a Move.
type sentence struct{ before, after string }

// groups are the addresses that made the same move.
type groups map[sentence][]netip.Addr

func (g groups) add(before string, addr netip.Addr, after string) {
	key := sentence{before, after}
	g[key] = append(g[key], addr)
}

// addressMoves says what happened to addresses, in one text for all that made the same move.
func addressMoves(before, after []Address) (texts []string) {
	old := map[netip.Addr]Address{}
	for _, a := range before {
		old[a.Address] = a
	}
	all := groups{}
	for _, a := range after {
		was, ok := old[a.Address]
		delete(old, a.Address)
		if !ok && len(a.Places) == 0 {
			all.add("", a.Address, " is new, and no node announces it"+because(a.Problem))
		}
		compareOwners(all, was, a)
		compareOthers(all, was.Places, a)
	}
	for addr := range old {
		all.add("no Service has ", addr, " any more")
	}
	for key, addrs := range all {
		texts = append(texts, key.before+names(addrs)+key.after)
	}
	slices.Sort(texts)
	return texts
}

// compareOwners adds how the owners of an address have changed.
func compareOwners(all groups, before, after Address) {
	from, to := owners(before.Places), owners(after.Places)
	switch {
	case from == to:
	case from == "":
		all.add(to+" began to announce ", after.Address, "")
	case to == "":
		all.add(from+" announces ", after.Address, " no more"+because(after.Problem))
	default:
		all.add("", after.Address, " moved from "+from+" to "+to)
	}
}

func owners(places []Place) string {
	var names []string
	for _, p := range places {
		if p.Owner {
			names = append(names, p.Node)
		}
	}
	return strings.Join(names, " and ")
}

// compareOthers adds which nodes began or ended to advertise an address, or to carry its flows.
func compareOthers(all groups, before []Place, after Address) {
	nodes := map[string][2]Place{}
	for _, p := range before {
		nodes[p.Node] = [2]Place{p, {}}
	}
	for _, p := range after.Places {
		nodes[p.Node] = [2]Place{nodes[p.Node][0], p}
	}
	for node, pair := range nodes {
		was, is := pair[0], pair[1]
		switch {
		case is.BGP && !was.BGP:
			all.add(node+" began to advertise ", after.Address, " over BGP")
		case was.BGP && !is.BGP:
			all.add(node+" advertises ", after.Address, " over BGP no more")
		}
		switch {
		case is.Slots > 0 && was.Slots == 0:
			all.add(node+" began to carry flows of ", after.Address, "")
		case was.Slots > 0 && is.Slots == 0:
			all.add(node+" carries flows of ", after.Address, " no more")
		}
	}
}

// names names addresses, or says how many they are and names the first.
func names(addrs []netip.Addr) string {
	slices.SortFunc(addrs, netip.Addr.Compare)
	var texts []string
	for _, addr := range addrs[:min(len(addrs), namedInMove)] {
		texts = append(texts, addr.String())
	}
	if len(addrs) <= 2 {
		return strings.Join(texts, " and ")
	}
	more := ""
	if len(addrs) > namedInMove {
		more = ", …"
	}
	return fmt.Sprintf("%d addresses (%s%s)", len(addrs), strings.Join(texts, ", "), more)
}

// newestFirst puts new moves before old ones, and keeps at most so many.
func newestFirst(moves, old []Move, keep int) []Move {
	all := append(slices.Clone(moves), old...)
	return all[:min(len(all), keep)]
}
