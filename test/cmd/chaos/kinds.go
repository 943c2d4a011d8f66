package main

import "time"

// kind is a kind of fault, and what it means for the model.
type kind struct {
	name string
	// nodes is the largest number of nodes that one fault of this kind hits. If it is 0, the
	// fault hits the cluster as a whole.
	nodes          int
	least, longest time.Duration // how long it lasts
	takesNode      bool          // the nodes cannot be the owner of an address
	silences       bool          // the nodes fail without a word
	cutsNode       bool          // the kernels of the nodes reach nobody, or nobody reaches them
	parts          bool          // the nodes reach each other, but no other speakers
	freezes        bool          // the kernels of the nodes still forward
	excludes       bool          // the nodes hand their addresses over
	moves          bool          // the speakers learn from the API server that addresses move
	cutsAPI        bool          // the nodes do not reach the API server
	// control marks a fault or an edit of the control plane. Such a fault cannot exist at
	// the same time as another one: their effects would depend on their order.
	control bool
	// slow marks a fault after which watches of the API server need time to come back.
	slow bool
}

var kinds = []*kind{
	{name: "power", nodes: 1, least: 300 * time.Millisecond, longest: 8 * time.Second, takesNode: true, silences: true, cutsNode: true, cutsAPI: true},
	{name: "crash", nodes: 1, least: 100 * time.Millisecond, longest: 6 * time.Second, takesNode: true, silences: true},
	{name: "freeze", nodes: 1, least: 100 * time.Millisecond, longest: 6 * time.Second, takesNode: true, silences: true, freezes: true},
	{name: "deaf", nodes: 1, least: 300 * time.Millisecond, longest: 8 * time.Second, takesNode: true, silences: true, cutsNode: true, cutsAPI: true},
	{name: "mute", nodes: 1, least: 300 * time.Millisecond, longest: 8 * time.Second, takesNode: true, silences: true, cutsNode: true, cutsAPI: true},
	{name: "partition", nodes: 2, least: 300 * time.Millisecond, longest: 8 * time.Second, takesNode: true, silences: true, parts: true, cutsAPI: true},
	{name: "split", nodes: 2, least: 300 * time.Millisecond, longest: 8 * time.Second, takesNode: true, silences: true, parts: true},
	{name: "exclude", nodes: 1, least: time.Second, longest: 6 * time.Second, takesNode: true, excludes: true, moves: true, control: true},
	{name: "cordon", nodes: 1, least: time.Second, longest: 6 * time.Second, control: true},
	{name: "api", least: time.Second, longest: 10 * time.Second, control: true, slow: true},
	{name: "managers", least: 100 * time.Millisecond, longest: 6 * time.Second, control: true},
	{name: "config", least: 500 * time.Millisecond, longest: 5 * time.Second, control: true},
	{name: "prefer", least: time.Second, longest: 6 * time.Second, moves: true, control: true},
	{name: "broken", least: 500 * time.Millisecond, longest: 5 * time.Second, control: true},
	{name: "service", least: 500 * time.Millisecond, longest: 5 * time.Second, control: true},
}

// kindNames returns the names of all kinds of faults.
func kindNames() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}
