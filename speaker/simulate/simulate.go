// Package simulate says what the speakers would do after a change: if nodes were drained or
// lost, or with another configuration.
//
// Run is a pure function. It changes the states with which the speakers have made their plans,
// makes the plans of the changed states, and compares them with those of today.
package simulate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// Cluster is what the cluster is like today.
type Cluster struct {
	// States are those of the speakers, one for each node that was asked.
	States []plan.State
	// Endpoints are those of the Services, by namespace/name and by the name of the node. A
	// Service that is missing is taken to have endpoints whatever happens.
	Endpoints map[string]map[string]Endpoints
	// IgnoresLabel is set if the speakers run with --ignore-exclude-label.
	IgnoresLabel bool
	// Incomplete says what is missing here, so that the result can be wrong. Notes say what else
	// to know about the input.
	Incomplete, Notes []string
}

// Endpoints are how many endpoints of a Service a node has.
type Endpoints struct {
	// Ready is how many kube-proxy uses. Staying is how many of them a drain leaves on the
	// node: those of DaemonSets and static pods.
	Ready, Staying int
}

// Change is what would be different.
type Change struct {
	// Drained are nodes that get the exclude label and whose pods are evicted. Their machines
	// and speakers go on.
	Drained []string
	// Lost are nodes that die.
	Lost []string
	// Config is the configuration that replaces the one of today; nil if that stays. The
	// passwords in it must be redacted, as they are in the States.
	Config *config.Config
	// Addresses are the Services that would get other addresses, by namespace/name.
	Addresses map[string]Addresses
}

// Addresses are the addresses that a Service has before and after a change.
type Addresses struct{ Before, After []netip.Addr }

// Run returns what would change.
func Run(c Cluster, change Change) (Result, error) {
	if err := check(c, change); err != nil {
		return Result{}, err
	}
	before := newWorld(c.States, c.Endpoints)
	states, endpoints := change.apply(c)
	after := newWorld(states, endpoints)

	r := Result{Drained: sorted(change.Drained), Lost: sorted(change.Lost), Configuration: change.Config != nil, Addresses: []Address{}, Nodes: []Node{}}
	vips := map[netip.Addr]bool{}
	maps.Insert(vips, maps.All(before.services))
	maps.Insert(vips, maps.All(after.services))
	for _, vip := range slices.SortedFunc(maps.Keys(vips), netip.Addr.Compare) {
		a := compare(vip, before, after, change)
		if a.Before.equal(a.After) && !a.Unserved {
			r.Unchanged++
			continue
		}
		r.Addresses = append(r.Addresses, a)
	}
	r.Nodes = append(r.Nodes, compareNodes(before, after)...)
	r.Incomplete, r.Notes = c.Incomplete, slices.Concat(c.Notes, notes(c, change, before, after))
	return r, nil
}

// check returns an error if a change makes no sense in the cluster.
func check(c Cluster, change Change) error {
	if len(c.States) == 0 {
		return fmt.Errorf("no speaker has said what it does, so nothing can be simulated")
	}
	if len(change.Drained) == 0 && len(change.Lost) == 0 && change.Config == nil {
		return fmt.Errorf("there is no change to simulate: name a node that is drained or lost, or a configuration")
	}
	known := map[string]bool{}
	for _, s := range c.States {
		for _, n := range s.Nodes {
			known[n.Name] = true
		}
	}
	for _, name := range slices.Concat(change.Drained, change.Lost) {
		if !known[name] {
			return fmt.Errorf("there is no node %q; the nodes are %s", name, strings.Join(firstNames(slices.Sorted(maps.Keys(known))), ", "))
		}
	}
	for _, name := range change.Drained {
		if slices.Contains(change.Lost, name) {
			return fmt.Errorf("node %q cannot be drained and lost at the same time", name)
		}
	}
	return nil
}

// maxNamed is how many names a sentence has at most.
const maxNamed = 10

// firstNames cuts a list of names.
func firstNames(names []string) []string {
	if len(names) <= maxNamed {
		return names
	}
	return append(slices.Clone(names[:maxNamed]), fmt.Sprintf("and %d more", len(names)-maxNamed))
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
