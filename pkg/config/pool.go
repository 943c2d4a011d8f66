package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
)

// rawPool is a pool as it stands in the text.
type rawPool struct {
	Pool
	nameOK, protocolOK bool // the value, if the text has one, is a string
	listsAddresses     bool // the list of addresses is not empty
	advertisements     []*rawAdvertisement
	at                 *yaml.Node
	found              entries
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
	{"addresses", value{kind: listOfStrings, required: true, doc: "`192.0.2.0/24`, `192.0.2.10-192.0.2.20`, `2001:db8::/120`, … Every address of a CIDR is used, also the first and the last. Ranges must not overlap, neither in one pool nor between pools.", example: "[192.0.2.0/24]"}, readAddresses},
	boolean("auto-assign", value{byDefault: "true", doc: "`false`: the pool serves only Services that ask for it or for one of its addresses"},
		func(to *rawPool, b bool) { to.AutoAssign = b }),
	{"requests", value{options: []string{string(RequestsAny), string(RequestsNamespace), string(RequestsNone)}, byDefault: string(RequestsAny), doc: "which Services may ask for one of the addresses, by annotation or by `loadBalancerIP`: all that the pool serves (`any`), only those in the namespaces that `namespaces` or `namespace-selectors` name (`namespace`; in a pool without these keys: none), or none (`none`)"}, readRequests},
	boolean("avoid-buggy-ips", value{byDefault: "false", doc: "`true`: IPv4 addresses that end in .0 or .255 are not assigned"},
		func(to *rawPool, b bool) { to.AvoidBuggyIPs = b }),
	sections("bgp-advertisements", value{doc: "with `protocol: bgp` or `both`: how the routes are made. Without this key, each address has its own route."}, advertisementSection,
		func(p *parser, n *yaml.Node, to *rawPool, place, _ int) {
			p.within("bgp-advertisements", place, func() { p.readAdvertisement(n, to) })
		}),
	number("priority", value{byDefault: "after all others", max: math.MaxInt32, doc: "the pool with the lowest number is tried first. Pools with the same number are tried in the order of the file."},
		func(to *rawPool, i uint64) { to.Priority = int(i) }),
	list("namespaces", value{byDefault: "all", doc: "the pool serves only Services in these namespaces, and in those that `namespace-selectors` select"},
		func(p *parser, n *yaml.Node, to *rawPool, s string) {
			if s == "" {
				p.errorf(n, "the name of a namespace must not be empty")
			}
			to.Namespaces = append(to.Namespaces, s)
		}),
	selectors("namespace-selectors", value{byDefault: "all", doc: "the pool serves only Services in namespaces with matching labels, and in those of `namespaces`"},
		func(to *rawPool, s labels.Selector) { to.NamespaceSelectors = append(to.NamespaceSelectors, s) }),
	selectors("service-selectors", value{byDefault: "all", doc: "the pool serves only Services with matching labels"},
		func(to *rawPool, s labels.Selector) { to.ServiceSelectors = append(to.ServiceSelectors, s) }),
	number("max-per-namespace", value{byDefault: "no limit", max: math.MaxInt32, doc: "how many addresses of the pool the Services of one namespace can have. A shared address counts once."},
		func(to *rawPool, i uint64) { to.MaxPerNamespace = int(i) }),
	{"reuse-delay", value{kind: aDuration, byDefault: "30s", doc: "the cooldown: a released address is not assigned again for this time, unless no other address is free. Neighbours still remember the node that had it."},
		func(p *parser, n *yaml.Node, to *rawPool) {
			if d, ok := p.duration(n); ok {
				to.ReuseDelay = d
			}
		}},
	boolean("share-across-namespaces", value{byDefault: "false", doc: "`true`: Services of several namespaces can share an address, if they have the same share key"},
		func(to *rawPool, b bool) { to.ShareAcrossNamespaces = b }),
	selectors("node-selectors", value{byDefault: "all", doc: "only nodes with matching labels announce the addresses"},
		func(to *rawPool, s labels.Selector) { to.NodeSelectors = append(to.NodeSelectors, s) }),
	selectors("preferred-nodes", value{byDefault: "none", doc: "with `protocol: layer2` or `both`: a node with matching labels announces the addresses while one can. If none can, another node does."},
		func(to *rawPool, s labels.Selector) { to.PreferredNodes = append(to.PreferredNodes, s) }),
	boolean("ignore-exclude-label", value{byDefault: "false", doc: "`true`: nodes with the label `node.kubernetes.io/exclude-from-external-load-balancers` announce the addresses, too. Some installers set this label on control planes."},
		func(to *rawPool, b bool) { to.IgnoreExcludeLabel = b }),
	{"conflicts", value{options: []string{refuseConflicts, announceConflicts}, byDefault: refuseConflicts, doc: "with `protocol: layer2` or `both`: what the owner does on a link on which a foreign host has the address already: it does not announce the address there (`refuse`), or it announces it anyway and defends it (`announce`)"}, readConflicts},
	list("interfaces", value{byDefault: "the link on the address's own network; see [layer 2](../concepts/layer2.md#which-links)", doc: "with `protocol: layer2` or `both`: the nodes announce the addresses only on these interfaces"},
		func(p *parser, n *yaml.Node, to *rawPool, s string) {
			if s == "" || len(s) > 15 || strings.ContainsAny(s, "/ \t") {
				p.errorf(n, "%q is not the name of an interface", s)
			}
			to.Interfaces = append(to.Interfaces, s)
		}),
	boolean("spread", value{byDefault: "false", doc: "with `protocol: layer2` or `both`: `true`: all nodes that may announce an address share its traffic. One of them still answers ARP and NDP, and forwards each connection to one of the nodes. A Service can switch it on or off for itself: `lb.baremetal/spread`."},
		func(to *rawPool, b bool) { to.Spread = b }),
	boolean("withdraw-without-endpoints", value{byDefault: "false", doc: "with `protocol: bgp` or `both`: `true`: an address is not advertised over BGP while its Services have no ready endpoint on any node, so that routers can use another route to it. Layer 2 does not change."},
		func(to *rawPool, b bool) { to.WithdrawWithoutEndpoints = b }),
}}

// The values of conflicts.
const (
	refuseConflicts   = "refuse"
	announceConflicts = "announce"
)

// DefaultReuseDelay is the cooldown of a released address, if its pool does not set another.
const DefaultReuseDelay = 30 * time.Second

// readPool reads a pool. Its place in the list is counted from 1.
func (p *parser) readPool(n *yaml.Node, to *Config, place int) {
	p.pool = fmt.Sprintf("#%d", place)
	defer func() { p.pool = "" }()
	key := p.key
	defer func() { p.key = key }()
	if n.Kind != yaml.MappingNode {
		p.key = ""
		p.errorf(n, "a pool must be a mapping of keys to values%s", p.gluedHint(n))
		return
	}
	raw := rawPool{nameOK: true, protocolOK: true, at: n}
	raw.AutoAssign, raw.Requests, raw.ReuseDelay, raw.Line = true, RequestsAny, DefaultReuseDelay, n.Line
	raw.found = readSection(p, n, poolSection, &raw)
	if raw.nameOK {
		p.unique(p.pools, "pool", raw.Name, raw.found.at("name", n), n)
	}
	if raw.protocolOK {
		p.checkProtocol(&raw)
	}
	if !raw.listsAddresses {
		p.key = "addresses"
		p.errorf(raw.found.at("addresses", n), "the pool has no addresses: list at least one CIDR or range")
	}
	if p.key = "requests"; raw.Requests == RequestsNamespace && len(raw.Namespaces)+len(raw.NamespaceSelectors) == 0 {
		p.warnf(raw.found.at(p.key, n), "no Service may ask for an address, because the pool has neither namespaces nor namespace-selectors: add one of them, or write requests: none")
	}
	p.key = "bgp-advertisements"
	p.checkAdvertisements(&raw)
	to.Pools = append(to.Pools, raw.Pool)
}

func readConflicts(p *parser, n *yaml.Node, to *rawPool) {
	switch s, ok := p.str(n); {
	case !ok || s == "": // an empty value leaves the default
	case s == refuseConflicts, s == announceConflicts:
		to.AnnounceConflicts = s == announceConflicts
	default:
		p.errorf(deref(n), "%q is not one of the values: write refuse or announce", s)
	}
}

func readRequests(p *parser, n *yaml.Node, to *rawPool) {
	s, ok := p.str(n)
	switch r := Requests(s); {
	case !ok || s == "": // an empty value leaves the default
	case r == RequestsAny, r == RequestsNamespace, r == RequestsNone:
		to.Requests = r
	default:
		p.errorf(deref(n), "%q is not one of the values: write any, namespace or none", s)
	}
}

func (p *parser) checkProtocol(raw *rawPool) {
	p.key = "protocol"
	switch at := raw.found.at(p.key, raw.at); raw.Protocol {
	case Layer2:
		if p.key = "bgp-advertisements"; len(raw.advertisements) > 0 {
			p.errorf(raw.found.at(p.key, raw.at), "needs protocol: bgp or both, but this pool has layer2: remove this key")
		}
		if p.key = "withdraw-without-endpoints"; raw.WithdrawWithoutEndpoints {
			p.errorf(raw.found.at(p.key, raw.at), "needs protocol: bgp or both, but this pool has layer2: remove this key")
		}
	case BGP:
		if p.key = "interfaces"; len(raw.Interfaces) > 0 {
			p.errorf(raw.found.at(p.key, raw.at), "needs protocol: layer2 or both, but this pool has bgp: remove this key")
		}
		if p.key = "spread"; raw.Spread {
			p.errorf(raw.found.at(p.key, raw.at), "needs protocol: layer2 or both, but this pool has bgp, and so the routers spread the traffic: remove this key, or write protocol: both")
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
	elements := p.list(n)
	to.Ranges = slices.Grow(to.Ranges, len(elements))
	p.ranges = slices.Grow(p.ranges, len(elements))
	for _, e := range elements {
		if p.stopped {
			return
		}
		text, ok := p.str(e)
		if !ok {
			continue
		}
		r, err := parseRange(text)
		if err != nil {
			p.errorf(e, "%v", err)
			continue
		}
		if addr, network, ok := hostBits(text, r); ok {
			p.warnf(e, "%s means all addresses of %s: write %[2]s for all, or %s for the one address", text, network, netip.PrefixFrom(addr, addr.BitLen()))
		}
		to.Ranges = append(to.Ranges, r)
		p.ranges = append(p.ranges, writtenRange{Range: r, at: e, pool: p.pool})
	}
}

// checkAdvertisements gives a BGP pool its advertisements, or the default one. It
// reports advertisements that do not fit the pool's addresses.
func (p *parser) checkAdvertisements(raw *rawPool) {
	if !raw.Protocol.BGP() {
		return
	}
	places := map[identity]int{}
	demands := aggregationDemands(raw.Ranges)
	raw.Advertisements = slices.Grow(raw.Advertisements, len(raw.advertisements))
	for i, ad := range raw.advertisements {
		p.within("bgp-advertisements", i+1, func() {
			p.checkAggregation(demands, ad)
			if ad.broken {
				return
			}
			if place := places[ad.identity()]; place != 0 {
				p.errorf(ad.at, "is the same as #%d", place)
				return
			}
			places[ad.identity()] = i + 1
		})
		raw.Advertisements = append(raw.Advertisements, ad.Advertisement)
	}
	if len(raw.Advertisements) == 0 {
		raw.Advertisements = []Advertisement{{AggregationLength: 32, AggregationLengthV6: 128}}
	}
}

// demand is the range of an address family that needs the longest prefixes: a route must
// have at least this length, or it covers addresses outside the range.
type demand struct {
	Range
	length int
}

// aggregationDemands returns the demands of a pool's ranges, for IPv4 and for IPv6. The
// length is 0 for a family without ranges.
func aggregationDemands(ranges []Range) (demands [2]demand) {
	for _, r := range ranges {
		d := &demands[0]
		if r.From.Is6() {
			d = &demands[1]
		}
		if length := r.widestPrefix(); length > d.length {
			*d = demand{r, length}
		}
	}
	return demands
}

// checkAggregation refuses a route that is wider than one of the entries under
// addresses, because such a route covers addresses outside the pool.
func (p *parser) checkAggregation(demands [2]demand, ad *rawAdvertisement) {
	lengths := [2]int{ad.AggregationLength, ad.AggregationLengthV6}
	for i, name := range []string{"aggregation-length", "aggregation-length-v6"} {
		if d := demands[i]; lengths[i] < d.length {
			p.key = name
			p.errorf(ad.found.at(name, ad.at), "/%d is wider than the range %s of the pool: write %d or more", lengths[i], d.Range, d.length)
		}
	}
}
