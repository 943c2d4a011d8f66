package config

import (
	"crypto/sha256"
	"hash"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// rawAdvertisement is an advertisement as it stands in the text.
type rawAdvertisement struct {
	Advertisement
	asWritten hash.Hash // of the keys and their values, to find two equal advertisements
	found     entries
	at        *yaml.Node
	broken    bool // a value could not be read, and an error was reported

	communityNames set[string]
	communities    set[community]
	peers          set[string]
}

// write notes a key and its value. The keys are read in the order of the table, so equal
// advertisements are written in the same way.
//
// It keeps a hash only: aliases can repeat a long value many times.
func (ad *rawAdvertisement) write(key, value string) {
	for _, text := range []string{key, "=", strconv.Itoa(len(value)), ":", value, ";"} {
		_, _ = io.WriteString(ad.asWritten, text) // a hash never fails
	}
}

// identity is the same for two advertisements that are written in the same way.
func (ad *rawAdvertisement) identity() identity { return identity(ad.asWritten.Sum(nil)) }

// identity is the SHA-256 sum of what makes two elements equal.
type identity [sha256.Size]byte

func (ad *rawAdvertisement) writeNumber(key string, i uint64) {
	ad.write(key, strconv.FormatUint(i, 10))
}

var advertisementSection = section[rawAdvertisement]{name: "a BGP advertisement", keys: []key[rawAdvertisement]{
	number("aggregation-length", value{byDefault: "32", max: 32, doc: "prefix length of IPv4 routes; a route must not be wider than an entry under `addresses`"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLength = int(i)
			to.writeNumber("aggregation-length", i)
		}),
	number("aggregation-length-v6", value{byDefault: "128", max: 128, doc: "the same for IPv6"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLengthV6 = int(i)
			to.writeNumber("aggregation-length-v6", i)
		}),
	number("localpref", value{byDefault: "0", max: math.MaxUint32, doc: "LOCAL_PREF, for internal peers"},
		func(to *rawAdvertisement, i uint64) {
			to.LocalPref = uint32(i)
			to.writeNumber("localpref", i)
		}),
	list("communities", value{byDefault: "none", doc: "names from `bgp-communities`, well-known names, numbers like `64512:100`, or large communities (RFC 8092) like `64512:1:2`. The well-known names are `no-export`, `no-advertise`, `no-export-subconfed`, `no-peer`, `graceful-shutdown`, `accept-own`, `blackhole`, `llgr-stale` and `no-llgr`.", example: "[no-export, 64512:100]"}, readAdvertisementCommunity),
	list("peers", value{byDefault: "all", doc: "the names of the `peers` that the routes are advertised to"}, readAdvertisementPeer),
}}

func (p *parser) readAdvertisement(n *yaml.Node, to *rawPool) {
	ad := &rawAdvertisement{at: n, asWritten: sha256.New()}
	ad.AggregationLength, ad.AggregationLengthV6 = 32, 128
	errorsBefore := p.errs.count
	ad.found = readSection(p, n, advertisementSection, ad)
	ad.broken = p.errs.count > errorsBefore
	to.advertisements = append(to.advertisements, ad)
}

func readAdvertisementCommunity(p *parser, n *yaml.Node, to *rawAdvertisement, s string) {
	if !to.communityNames.add(s) {
		p.errorf(n, "%q is in the list twice", s)
		return
	}
	to.write("community", s)
	c, ok := p.community(s)
	switch {
	case !ok:
		p.errorf(n, "%q is neither under bgp-communities nor a community like 64512:100 or 64512:1:2%s", s, p.communityHint(s))
	case !to.communities.add(c): // the same as another one with a different name
	case c.isLarge:
		to.LargeCommunities = append(to.LargeCommunities, c.large)
	default:
		to.Communities = append(to.Communities, c.plain)
	}
}

// communityHint is the end of an error about an unknown name.
func (p *parser) communityHint(name string) string {
	if p.errs.full() {
		return ""
	}
	if like := closest(name, slices.Sorted(maps.Keys(wellKnown))); like != "" {
		return ": did you mean " + like + "?"
	}
	return ""
}

func readAdvertisementPeer(p *parser, n *yaml.Node, to *rawAdvertisement, s string) {
	if p.peers[s] == 0 {
		p.errorf(n, "there is no peer %q; the name of a peer without a name is its address", s)
		return
	}
	if !to.peers.add(s) {
		p.errorf(n, "%q is in the list twice", s)
		return
	}
	to.Peers = append(to.Peers, s)
	to.write("peer", s)
}
