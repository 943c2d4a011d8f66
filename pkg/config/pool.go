package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
)

// rawPool is a pool as it stands in the text.
type rawPool struct {
	Pool
	nameOK, protocolOK bool // what is there is a string
	listsAddresses     bool
	advertisements     []rawAdvertisement
}

var poolSection = section[rawPool]{name: "a pool", keys: []key[rawPool]{
	{"name", value{required: true, doc: "unique among the pools"}, func(p *parser, n *yaml.Node, to *rawPool) {
		if to.Name, to.nameOK = p.str(n); to.Name != "" {
			p.pool = to.Name
		}
	}},
	{"protocol", value{required: true, options: []string{string(Layer2), string(BGP), string(Both)}, doc: "how the addresses are announced: by one node that answers ARP and NDP, by routes from all nodes, or in both ways"}, func(p *parser, n *yaml.Node, to *rawPool) {
		var s string
		s, to.protocolOK = p.str(n)
		to.Protocol = Protocol(s)
	}},
	{"addresses", value{kind: listOfStrings, required: true, doc: "`192.0.2.0/24`, `192.0.2.10-192.0.2.20`, `2001:db8::/120`, … Every address of a CIDR is used, the first and the last too. Ranges must not overlap, within a pool or between pools.", example: "[192.0.2.0/24]"}, readAddresses},
	boolean("auto-assign", value{byDefault: "true", doc: "`false`: only Services that ask for the pool or for an address of it are served"},
		func(to *rawPool, b bool) { to.AutoAssign = b }),
	boolean("avoid-buggy-ips", value{byDefault: "false", doc: "`true`: IPv4 addresses that end in .0 or .255 are not given"},
		func(to *rawPool, b bool) { to.AvoidBuggyIPs = b }),
	sections("bgp-advertisements", value{doc: "with `protocol: bgp` or `both`: how routes are made; one without aggregation if there is none"}, advertisementSection,
		func(p *parser, n *yaml.Node, to *rawPool, place int) {
			p.within(fmt.Sprintf("bgp-advertisements #%d", place), func() { p.readAdvertisement(n, to) })
		}),
	number("priority", value{byDefault: "after all others", max: math.MaxInt32, doc: "pools are tried in the order of this number, the lowest first, and those of the same in the order of the file"},
		func(to *rawPool, i uint64) { to.Priority = int(i) }),
	list("namespaces", value{byDefault: "all", doc: "only Services of these namespaces are served, and of those that `namespace-selectors` add"},
		func(p *parser, n *yaml.Node, to *rawPool, s string) {
			if s == "" {
				p.errorf(n.Line, "a namespace has a name")
			}
			to.Namespaces = append(to.Namespaces, s)
		}),
	selectors("namespace-selectors", value{byDefault: "all", doc: "only Services of namespaces with matching labels are served, and of those in `namespaces`"},
		func(to *rawPool, s labels.Selector) { to.NamespaceSelectors = append(to.NamespaceSelectors, s) }),
	selectors("service-selectors", value{byDefault: "all", doc: "only Services with matching labels are served"},
		func(to *rawPool, s labels.Selector) { to.ServiceSelectors = append(to.ServiceSelectors, s) }),
	number("max-per-namespace", value{byDefault: "no limit", max: math.MaxInt32, doc: "how many addresses of the pool the Services of one namespace can have; one that they share counts once"},
		func(to *rawPool, i uint64) { to.MaxPerNamespace = int(i) }),
	{"reuse-delay", value{kind: aDuration, byDefault: "30s", doc: "how long an address that was given back is not given again, unless there is no other: neighbours remember where it was"},
		func(p *parser, n *yaml.Node, to *rawPool) {
			if d, ok := p.duration(n); ok {
				to.ReuseDelay = d
			}
		}},
	boolean("share-across-namespaces", value{byDefault: "false", doc: "`true`: Services of several namespaces can share an address, if they agree on the key"},
		func(to *rawPool, b bool) { to.ShareAcrossNamespaces = b }),
	selectors("node-selectors", value{byDefault: "all", doc: "only nodes with matching labels announce the addresses"},
		func(to *rawPool, s labels.Selector) { to.NodeSelectors = append(to.NodeSelectors, s) }),
	list("interfaces", value{byDefault: "all", doc: "with `protocol: layer2` or `both`: only these interfaces of a node are announced on"},
		func(p *parser, n *yaml.Node, to *rawPool, s string) {
			if s == "" || len(s) > 15 || strings.ContainsAny(s, "/ \t") {
				p.errorf(n.Line, "%q is not the name of an interface", s)
			}
			to.Interfaces = append(to.Interfaces, s)
		}),
}}

// DefaultReuseDelay is how long a released address rests unless its pool says
// otherwise.
const DefaultReuseDelay = 30 * time.Second

// readPool reads the pool at a place of the list, counted from 1.
func (p *parser) readPool(n *yaml.Node, to *Config, place int) {
	p.pool = fmt.Sprintf("#%d", place)
	defer func() { p.pool = "" }()
	key := p.key
	defer func() { p.key = key }()
	if n.Kind != yaml.MappingNode {
		p.key = ""
		p.errorf(n.Line, "a pool must be a mapping of keys to values")
		return
	}
	raw := rawPool{nameOK: true, protocolOK: true}
	raw.AutoAssign, raw.ReuseDelay, raw.Line = true, DefaultReuseDelay, n.Line
	lines := readSection(p, n, poolSection, &raw)
	if raw.nameOK {
		p.unique(p.pools, "pool", raw.Name, lineOr(lines, "name", n.Line), n.Line)
	}
	if raw.protocolOK {
		p.checkProtocol(&raw, lines)
	}
	if !raw.listsAddresses {
		p.key = "addresses"
		p.errorf(lineOr(lines, "addresses", n.Line), "the pool has no addresses: list at least one CIDR or range")
	}
	p.key = "bgp-advertisements"
	p.checkAdvertisements(&raw)
	to.Pools = append(to.Pools, raw.Pool)
}

func (p *parser) checkProtocol(raw *rawPool, lines map[string]int) {
	p.key = "protocol"
	switch at := lineOr(lines, "protocol", raw.Line); raw.Protocol {
	case Layer2:
		if p.key = "bgp-advertisements"; len(raw.advertisements) > 0 {
			p.errorf(lines[p.key], "belongs to protocol: bgp or both, and this pool has layer2: remove this key")
		}
	case BGP:
		if p.key = "interfaces"; len(raw.Interfaces) > 0 {
			p.errorf(lines[p.key], "belongs to protocol: layer2 or both, and this pool has bgp: remove this key")
		}
	case Both:
	case "":
		p.errorf(at, "address pool is missing the protocol field: write protocol: layer2, protocol: bgp or protocol: both")
	default:
		p.errorf(at, "unknown protocol %q: write layer2, bgp or both", raw.Protocol)
	}
}

func readAddresses(p *parser, n *yaml.Node, to *rawPool) {
	to.listsAddresses = !p.empty(n)
	for _, e := range p.list(n) {
		text, ok := p.str(e)
		if !ok {
			continue
		}
		r, err := ParseRange(text)
		if err != nil {
			p.errorf(e.Line, "%v", err)
			continue
		}
		to.Ranges = append(to.Ranges, r)
		p.ranges = append(p.ranges, placed{Range: r, text: e.Value, pool: p.pool, line: e.Line})
	}
}

// checkAdvertisements gives a pool of BGP the advertisements that it has, or the
// default one, and reports those that its addresses do not allow.
func (p *parser) checkAdvertisements(raw *rawPool) {
	if !raw.Protocol.BGP() {
		return
	}
	for i, ad := range raw.advertisements {
		p.within(fmt.Sprintf("bgp-advertisements #%d", i+1), func() {
			p.checkAggregation(raw, ad)
			for j, earlier := range raw.advertisements[:i] {
				if !ad.broken && !earlier.broken && reflect.DeepEqual(ad.asWritten, earlier.asWritten) {
					p.errorf(ad.line, "is the same as #%d", j+1)
				}
			}
		})
		raw.Advertisements = append(raw.Advertisements, ad.Advertisement)
	}
	if len(raw.Advertisements) == 0 {
		raw.Advertisements = []Advertisement{{AggregationLength: 32, AggregationLengthV6: 128}}
	}
}

// checkAggregation refuses a route that is wider than one of the entries under
// addresses, since it would reach beyond the pool.
func (p *parser) checkAggregation(raw *rawPool, ad rawAdvertisement) {
	for _, r := range raw.Ranges {
		name, length := "aggregation-length", ad.AggregationLength
		if r.From.Is6() {
			name, length = "aggregation-length-v6", ad.AggregationLengthV6
		}
		if widest := r.WidestPrefix(); length < widest {
			p.key = name
			p.errorf(lineOr(ad.lines, name, ad.line), "%d reaches beyond %s, whose widest prefix has the length %d", length, r, widest)
		}
	}
}
