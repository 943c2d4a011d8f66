package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rawAdvertisement is an advertisement as it stands in the text.
type rawAdvertisement struct {
	Advertisement
	asWritten map[string]any // the values of the keys, to find two equal advertisements
	lines     map[string]int
	line      int
	broken    bool // a value could not be read, and an error was reported
}

var advertisementSection = section[rawAdvertisement]{name: "a BGP advertisement", keys: []key[rawAdvertisement]{
	number("aggregation-length", value{byDefault: "32", max: 32, doc: "prefix length of IPv4 routes; a route must not be wider than an entry under `addresses`"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLength, to.asWritten["aggregation-length"] = int(i), i
		}),
	number("aggregation-length-v6", value{byDefault: "128", max: 128, doc: "the same for IPv6"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLengthV6, to.asWritten["aggregation-length-v6"] = int(i), i
		}),
	number("localpref", value{byDefault: "0", max: math.MaxUint32, doc: "LOCAL_PREF, for internal peers"},
		func(to *rawAdvertisement, i uint64) { to.LocalPref, to.asWritten["localpref"] = uint32(i), i }),
	list("communities", value{byDefault: "none", doc: "names from `bgp-communities`, numbers like `64512:100`, or large communities (RFC 8092) like `64512:1:2`", example: "[no-export, 64512:100]"}, readAdvertisementCommunity),
	list("peers", value{byDefault: "all", doc: "the names of the `peers` that the routes are advertised to"}, readAdvertisementPeer),
}}

func (p *parser) readAdvertisement(n *yaml.Node, to *rawPool) {
	ad := rawAdvertisement{line: n.Line, asWritten: map[string]any{}}
	ad.AggregationLength, ad.AggregationLengthV6 = 32, 128
	errorsBefore := len(p.errs)
	ad.lines = readSection(p, n, advertisementSection, &ad)
	ad.broken = len(p.errs) > errorsBefore
	to.advertisements = append(to.advertisements, ad)
}

func readAdvertisementCommunity(p *parser, n *yaml.Node, to *rawAdvertisement, s string) {
	written, _ := to.asWritten["communities"].([]string)
	if slices.Contains(written, s) {
		p.errorf(n.Line, "%q is in the list twice", s)
		return
	}
	to.asWritten["communities"] = append(written, s)
	community, ok := p.communities[s]
	if !ok {
		var err error
		if community, err = parseCommunity(s); err != nil {
			p.errorf(n.Line, "%q is neither under bgp-communities nor a community like 64512:100 or 64512:1:2", s)
			return
		}
	}
	switch {
	case community.isLarge && !slices.Contains(to.LargeCommunities, community.large):
		to.LargeCommunities = append(to.LargeCommunities, community.large)
	case !community.isLarge && !slices.Contains(to.Communities, community.plain):
		to.Communities = append(to.Communities, community.plain)
	}
}

func readAdvertisementPeer(p *parser, n *yaml.Node, to *rawAdvertisement, s string) {
	if p.peers[s] == 0 {
		p.errorf(n.Line, "there is no peer %q; the name of a peer without a name is its address", s)
		return
	}
	if slices.Contains(to.Peers, s) {
		p.errorf(n.Line, "%q is in the list twice", s)
		return
	}
	to.Peers = append(to.Peers, s)
	to.asWritten["peers"] = to.Peers
}

// community is a Community or a LargeCommunity.
type community struct {
	isLarge bool
	plain   Community
	large   LargeCommunity
}

func (p *parser) readCommunities(n *yaml.Node) {
	for _, e := range p.mapping(n, "the value") {
		text, ok := p.str(e.value)
		if !ok {
			continue
		}
		community, err := parseCommunity(text)
		if err != nil {
			p.errorf(e.line, "%q: %v", e.key, err)
			continue
		}
		p.communities[e.key] = community
	}
}

// parseCommunity reads 64512:100, and 64512:1:2 or large:64512:1:2.
func parseCommunity(text string) (community, error) {
	parts := strings.Split(strings.TrimPrefix(text, "large:"), ":")
	isLarge := len(parts) == 3
	bits := 16
	if isLarge {
		bits = 32
	}
	var numbers [3]uint32
	ok := isLarge || len(parts) == 2 && !strings.HasPrefix(text, "large:")
	for i := 0; ok && i < len(parts); i++ {
		n, err := strconv.ParseUint(parts[i], 10, bits)
		numbers[i], ok = uint32(n), err == nil
	}
	switch {
	case !ok:
		return community{}, fmt.Errorf("%q is not a community: write two numbers up to 65535, like 64512:100, or for a large one three, like 64512:1:2", text)
	case isLarge:
		return community{isLarge: true, large: LargeCommunity(numbers)}, nil
	}
	return community{plain: Community(numbers[0]<<16 | numbers[1])}, nil
}
