package metallb

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Field is a field of MetalLB's custom resources, and what becomes of it.
type Field struct {
	Kind, Path string
	// Outcome is the usual one. Depending on the objects it can be another.
	Outcome Outcome
	// Key is the key of this project's configuration, or empty.
	Key string
	// Text says what is different, or what to do instead.
	Text string
	// selectors is true for a list of label selectors.
	selectors bool
}

// Fields lists all fields of the specs of the custom resources that hold configuration,
// without the fields inside label selectors.
func Fields() []Field {
	const (
		pools = "IPAddressPool"
		l2    = "L2Advertisement"
		bgp   = "BGPAdvertisement"
		peers = "BGPPeer"
		bfd   = "BFDProfile"
		names = "Community"
	)
	selectors := func(f Field) Field { f.selectors = true; return f }
	return []Field{
		{Kind: pools, Path: "spec.addresses", Outcome: Carried, Key: "addresses"},
		{Kind: pools, Path: "spec.autoAssign", Outcome: Carried, Key: "auto-assign"},
		{Kind: pools, Path: "spec.avoidBuggyIPs", Outcome: Carried, Key: "avoid-buggy-ips"},
		{Kind: pools, Path: "spec.serviceAllocation.priority", Outcome: Carried, Key: "priority"},
		{Kind: pools, Path: "spec.serviceAllocation.namespaces", Outcome: Carried, Key: "namespaces"},
		selectors(Field{Kind: pools, Path: "spec.serviceAllocation.namespaceSelectors", Outcome: Carried, Key: "namespace-selectors"}),
		selectors(Field{Kind: pools, Path: "spec.serviceAllocation.serviceSelectors", Outcome: Carried, Key: "service-selectors"}),

		{Kind: l2, Path: "spec.ipAddressPools", Outcome: Carried, Key: "protocol", Text: "`layer2` or `both` in the pools that are named; without names and selectors in all pools"},
		selectors(Field{Kind: l2, Path: "spec.ipAddressPoolSelectors", Outcome: Carried, Key: "protocol", Text: "of the pools whose labels match now; pools have no labels here"}),
		selectors(Field{Kind: l2, Path: "spec.nodeSelectors", Outcome: Carried, Key: "node-selectors", Text: "together with those of the pool's other advertisements, because a pool has one `node-selectors`"}),
		{Kind: l2, Path: "spec.interfaces", Outcome: Carried, Key: "interfaces", Text: "together with those of the pool's other L2Advertisements"},
		selectors(Field{Kind: l2, Path: "spec.serviceSelectors", Outcome: NotCarried, Text: "a pool announces the addresses of all its Services in the same way: move the Services to a pool of their own, with `service-selectors`"}),

		{Kind: bgp, Path: "spec.aggregationLength", Outcome: Carried, Key: "aggregation-length"},
		{Kind: bgp, Path: "spec.aggregationLengthV6", Outcome: Carried, Key: "aggregation-length-v6"},
		{Kind: bgp, Path: "spec.localPref", Outcome: Carried, Key: "localpref"},
		{Kind: bgp, Path: "spec.communities", Outcome: Carried, Key: "communities"},
		{Kind: bgp, Path: "spec.ipAddressPools", Outcome: Carried, Key: "bgp-advertisements", Text: "an element in the pools that are named, and `protocol: bgp` or `both`; without names and selectors in all pools"},
		selectors(Field{Kind: bgp, Path: "spec.ipAddressPoolSelectors", Outcome: Carried, Key: "bgp-advertisements", Text: "in the pools whose labels match now; pools have no labels here"}),
		selectors(Field{Kind: bgp, Path: "spec.nodeSelectors", Outcome: Carried, Key: "node-selectors", Text: "together with those of the pool's other advertisements, because a pool has one `node-selectors`"}),
		{Kind: bgp, Path: "spec.peers", Outcome: Carried, Key: "peers"},
		selectors(Field{Kind: bgp, Path: "spec.serviceSelectors", Outcome: NotCarried, Text: "a pool announces the addresses of all its Services in the same way: move the Services to a pool of their own, with `service-selectors`"}),

		{Kind: peers, Path: "spec.myASN", Outcome: Carried, Key: "my-asn"},
		{Kind: peers, Path: "spec.peerASN", Outcome: Carried, Key: "peer-asn"},
		{Kind: peers, Path: "spec.localASN", Outcome: Changed, Key: "my-asn", Text: "the session has it as our AS number. MetalLB in the mode frr-k8s ignores the field: check which AS number the router expects"},
		{Kind: peers, Path: "spec.dynamicASN", Outcome: NotCarried, Key: "peer-asn", Text: "`internal`: the value of `myASN`. `external`: the AS number of the router is needed, so the peer becomes a comment"},
		{Kind: peers, Path: "spec.peerAddress", Outcome: Carried, Key: "peer-address"},
		{Kind: peers, Path: "spec.interface", Outcome: NotCarried, Text: "there are no unnumbered peers: write the router's link-local address with the interface of the nodes, like `peer-address: fe80::1%eth0`, and its `peer-asn`"},
		{Kind: peers, Path: "spec.sourceAddress", Outcome: Changed, Key: "source-address", Text: "MetalLB in the mode frr-k8s ignores the field, but the speakers use it: check that each node with a session has the address"},
		{Kind: peers, Path: "spec.peerPort", Outcome: Carried, Key: "peer-port"},
		{Kind: peers, Path: "spec.holdTime", Outcome: Carried, Key: "hold-time", Text: "`0s` is not supported: the default of 90 s is used"},
		{Kind: peers, Path: "spec.keepaliveTime", Outcome: Carried, Key: "keepalive-time", Text: "`0s` is not supported: a third of the hold time is used"},
		{Kind: peers, Path: "spec.connectTime", Outcome: NotCarried, Text: "the speaker tries a failed connection again every 5 s; there is no key for it"},
		{Kind: peers, Path: "spec.routerID", Outcome: Carried, Key: "router-id"},
		selectors(Field{Kind: peers, Path: "spec.nodeSelectors", Outcome: Carried, Key: "node-selectors"}),
		{Kind: peers, Path: "spec.password", Outcome: Carried, Key: "password", Text: "better in a Secret"},
		{Kind: peers, Path: "spec.passwordSecret.name", Outcome: Changed, Key: "password-secret", Text: "copy the Secret to the namespace of the ConfigMap, and allow the speakers to read it"},
		{Kind: peers, Path: "spec.passwordSecret.namespace", Outcome: Changed, Text: "the Secret is always in the namespace of the ConfigMap"},
		{Kind: peers, Path: "spec.bfdProfile", Outcome: Carried, Key: "bfd-profile"},
		{Kind: peers, Path: "spec.enableGracefulRestart", Outcome: Changed, Key: "graceful-restart", Text: "120s, which is the restart time of MetalLB's FRR"},
		{Kind: peers, Path: "spec.ebgpMultiHop", Outcome: Carried, Key: "ebgp-multihop"},
		{Kind: peers, Path: "spec.vrf", Outcome: NotCarried, Text: "there are no sessions in a VRF: remove the peer, or make the router reachable outside the VRF"},
		{Kind: peers, Path: "spec.disableMP", Outcome: NotCarried, Text: "every session offers IPv4 and IPv6; configure on the router which family it accepts"},
		{Kind: peers, Path: "spec.dualStackAddressFamily", Outcome: Carried, Text: "every session offers IPv4 and IPv6, as with `true`"},

		{Kind: bfd, Path: "spec.receiveInterval", Outcome: Carried, Key: "receive-interval"},
		{Kind: bfd, Path: "spec.transmitInterval", Outcome: Carried, Key: "transmit-interval"},
		{Kind: bfd, Path: "spec.detectMultiplier", Outcome: Carried, Key: "detect-multiplier"},
		{Kind: bfd, Path: "spec.echoInterval", Outcome: Carried, Key: "echo-interval", Text: "without effect, because echo packets are not sent"},
		{Kind: bfd, Path: "spec.echoMode", Outcome: NotCarried, Text: "`true` is not supported: use shorter `receive-interval` and `transmit-interval` to detect a dead router sooner"},
		{Kind: bfd, Path: "spec.passiveMode", Outcome: Carried, Key: "passive-mode"},
		{Kind: bfd, Path: "spec.minimumTtl", Outcome: Carried, Key: "minimum-ttl"},

		{Kind: names, Path: "spec.communities[].name", Outcome: Carried, Key: "bgp-communities"},
		{Kind: names, Path: "spec.communities[].value", Outcome: Carried, Key: "bgp-communities"},
	}
}

// table finds fields by kind and path. The paths have no indexes of lists.
type table struct {
	fields map[[2]string]Field
	// parents are the paths that have fields inside.
	parents map[[2]string]bool
}

func newTable() table {
	t := table{map[[2]string]Field{}, map[[2]string]bool{}}
	for _, f := range Fields() {
		t.fields[[2]string{f.Kind, f.Path}] = f
		for i, char := range f.Path {
			if char == '.' {
				t.parents[[2]string{f.Kind, strings.TrimSuffix(f.Path[:i], "[]")}] = true
			}
		}
	}
	return t
}

func (t table) field(kind, path string) (Field, bool) {
	f, ok := t.fields[[2]string{kind, path}]
	return f, ok
}

// advice returns what the table says about a field, for a message.
func (t table) advice(kind, path string) string {
	f, _ := t.field(kind, path)
	return strings.ReplaceAll(f.Text, "`", "")
}

// selectorFields are the fields of a label selector, and of its expressions.
var (
	selectorFields   = []string{"matchLabels", "matchExpressions"}
	expressionFields = []string{"key", "operator", "values"}
)

// checkFields notes the fields of an object that MetalLB 0.16 does not have, and reports
// keys that are written twice.
func (c *converter) checkFields(o *object) {
	for i := 0; i+1 < len(o.root.Content); i += 2 {
		switch key := o.root.Content[i].Value; key {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			c.checkInside(o, o.root.Content[i+1], "spec")
		default:
			c.unknown(o, key)
		}
	}
}

func (c *converter) unknown(o *object, path string) {
	c.note(o, path, NotCarried, "", "MetalLB 0.16 has no such field, and it was not read: check its spelling, or whether a newer MetalLB has it")
}

// checkInside looks at the keys of a mapping, or of each mapping in a list.
func (c *converter) checkInside(o *object, n *yaml.Node, path string) {
	if n.Kind == yaml.SequenceNode {
		for _, element := range n.Content {
			c.checkInside(o, element, path+"[]")
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return // whoever reads the value reports that
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		inner := path + "." + key
		if seen[key] {
			c.fail(o, inner, "is written twice: remove one of the two")
		}
		seen[key] = true
		f, known := c.table.field(o.kind, inner)
		switch {
		case known && f.selectors:
			c.checkSelectors(o, n.Content[i+1], inner)
		case known:
		case c.table.parents[[2]string{o.kind, inner}]:
			c.checkInside(o, n.Content[i+1], inner)
		default:
			c.unknown(o, inner)
		}
	}
}

// checkSelectors looks at the keys inside a list of label selectors.
func (c *converter) checkSelectors(o *object, list *yaml.Node, path string) {
	for _, selector := range list.Content {
		c.checkKeys(o, selector, path+"[]", selectorFields)
		_, expressions := lookUp(selector, "matchExpressions")
		if expressions == nil {
			continue
		}
		for _, e := range expressions.Content {
			c.checkKeys(o, e, path+"[].matchExpressions[]", expressionFields)
		}
	}
}

func (c *converter) checkKeys(o *object, n *yaml.Node, path string, known []string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		found := false
		for _, k := range known {
			found = found || n.Content[i].Value == k
		}
		if !found {
			c.unknown(o, path+"."+n.Content[i].Value)
		}
	}
}
