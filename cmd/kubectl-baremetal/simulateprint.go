package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

// maxListed is how many names or routes a line has at most.
const maxListed = 4

// printSimulation prints a simulation. It returns an error if something would be served by nobody, or if the input was
// incomplete.
func printSimulation(out io.Writer, format string, r *simulation) error {
	done, err := printObject(out, format, r)
	if !done {
		err = printSimulationText(out, r)
	}
	if err != nil {
		return err
	}
	if unserved := r.Unserved(); len(unserved) > 0 {
		return exitError{errors.New(unservedText(unserved)), 1}
	}
	if len(r.Incomplete) > 0 {
		return notDone(errors.New("the result is incomplete, so it is no reason to go on"))
	}
	return nil
}

func unservedText(unserved []netip.Addr) string {
	return fmt.Sprintf("%s would be served by nobody: %s", countedAddresses(len(unserved)), listed(texts(unserved)))
}

func countedAddresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}

func printSimulationText(out io.Writer, r *simulation) error {
	if r.Preview != nil {
		printPreview(out, r.Preview.whole)
		fmt.Fprintln(out)
	}
	return printAnnouncements(out, &r.Result)
}

// printAnnouncements prints what would change in the network.
func printAnnouncements(out io.Writer, r *simulate.Result) error {
	all := len(r.Addresses) + r.Unchanged
	what := condition(r)
	if len(r.Addresses) == 0 {
		fmt.Fprintf(out, "%s no address would be announced in another way than now (%s).\n", what, countedAddresses(all))
	} else {
		fmt.Fprintf(out, "%s something would change for %d of %s:\n", what, len(r.Addresses), countedAddresses(all))
	}
	for i := range r.Addresses {
		printChange(out, &r.Addresses[i])
	}
	if len(r.Nodes) > 0 {
		fmt.Fprintln(out)
		t := newTable(out)
		t.row("NODE", "ANNOUNCES BY LAYER 2", "BGP SESSIONS", "BGP ROUTES")
		for _, n := range r.Nodes {
			t.row(n.Node, fmt.Sprintf("%d → %d", n.Announces.Before, n.Announces.After), sessionsText(n.Sessions), routesText(n))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(r.Incomplete)+len(r.Notes) > 0 {
		fmt.Fprintln(out)
	}
	for _, text := range r.Incomplete {
		fmt.Fprintf(out, "Incomplete: %s\n", text)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "Note: %s\n", note)
	}
	return nil
}

// condition returns the first half of the sentence that says what was simulated.
func condition(r *simulate.Result) string {
	var parts []string
	if len(r.Drained) > 0 {
		parts = append(parts, "with "+listed(r.Drained)+" drained")
	}
	if len(r.Lost) > 0 {
		parts = append(parts, "without "+listed(r.Lost))
	}
	if r.Configuration {
		parts = append(parts, "with this configuration")
	}
	text := strings.Join(parts, ", and ")
	return strings.ToUpper(text[:1]) + text[1:] + ","
}

func printChange(out io.Writer, a *simulate.Address) {
	fmt.Fprintf(out, "\n%s  %s\n", a.Address, listed(a.Services))
	line := func(name, text string) { fmt.Fprintf(out, "  %-11s  %s\n", name, text) }
	if a.Before.Pool != a.After.Pool {
		line("pool", arrow(orNone(a.Before.Pool), orNone(a.After.Pool)))
	}
	if len(a.Before.Layer2)+len(a.After.Layer2) > 0 {
		line("layer 2", nodesText(a.Before.Layer2, a.After.Layer2))
	}
	if len(a.Before.Slots)+len(a.After.Slots) > 0 {
		line("slots", slotsText(a.Before, a.After))
	}
	if len(a.Before.BGP)+len(a.After.BGP) > 0 {
		line("BGP", nodesText(a.Before.BGP, a.After.BGP))
	}
	if a.Unserved {
		line("NOT SERVED", a.Why)
	}
	if a.Connections != "" {
		line("connections", a.Connections)
	}
}

// arrow returns what is before and after; one of them if they are equal.
func arrow(before, after string) string {
	if before == after {
		return before + ", as now"
	}
	return before + " → " + after
}

func orNone(pool string) string {
	if pool == "" {
		return "none"
	}
	return pool
}

// nodesText returns which nodes there are before and after; of many nodes how many, and which of them come and go.
func nodesText(before, after []string) string {
	if max(len(before), len(after)) <= maxListed+1 {
		return arrow(orNobody(before), orNobody(after))
	}
	text := fmt.Sprintf("%d nodes", len(before))
	if len(before) != len(after) {
		text += fmt.Sprintf(" → %d", len(after))
	}
	gone, come := missing(before, after), missing(after, before)
	if len(gone) > 0 {
		text += ", without " + listed(gone)
	}
	if len(come) > 0 {
		text += ", with " + listed(come)
	}
	if len(gone)+len(come) == 0 {
		text += ", as now"
	}
	return text
}

func orNobody(nodes []string) string {
	if len(nodes) == 0 {
		return "nobody"
	}
	return listed(nodes)
}

// missing returns the names that a list has, and another one has not.
func missing(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(other, name) })
}

// slotsText returns how many slots the nodes carry before and after; of many nodes only which of them carry any.
func slotsText(before, after simulate.Serving) string {
	was, is := carriers(before), carriers(after)
	all := slices.Concat(was, missing(is, was))
	if len(all) > maxListed+1 {
		return nodesText(was, is)
	}
	slices.Sort(all)
	var parts []string
	for _, node := range all {
		was, is := before.SlotsOf(node), after.SlotsOf(node)
		text := fmt.Sprintf("%s %d", node, was)
		if was != is {
			text += fmt.Sprintf(" → %d", is)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func carriers(s simulate.Serving) (nodes []string) {
	for _, c := range s.Slots {
		nodes = append(nodes, c.Node)
	}
	return nodes
}

func routesText(n simulate.Node) string {
	var parts []string
	for _, change := range []struct {
		verb   string
		routes []netip.Prefix
	}{{"withdraws", n.Withdrawn}, {"adds", n.Added}, {"changes", n.Changed}} {
		if len(change.routes) > 0 {
			parts = append(parts, change.verb+" "+listed(texts(change.routes)))
		}
	}
	return strings.Join(parts, "; ")
}

func sessionsText(sessions []simulate.Session) string {
	var parts []string
	for _, s := range sessions {
		parts = append(parts, s.Peer+" "+s.Change)
	}
	return strings.Join(parts, ", ")
}

// listed returns the first names of a list, and how many more there are.
func listed(names []string) string {
	if len(names) > maxListed+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return strings.Join(names, ", ")
}

func texts[T fmt.Stringer](all []T) []string {
	var list []string
	for _, a := range all {
		list = append(list, a.String())
	}
	return list
}
