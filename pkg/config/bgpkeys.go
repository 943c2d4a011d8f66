package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
)

// rawPeer is a peer as it stands in the text.
type rawPeer struct {
	Peer
	holdTime, keepaliveTime *time.Duration
	broken                  bool // a timer could not be read, which is said already
}

var peerSection = section[rawPeer]{name: "a peer", keys: []key[rawPeer]{
	number("my-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "our own AS number"}, func(to *rawPeer, i uint64) { to.MyASN = uint32(i) }),
	number("peer-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "the peer's AS number; the same makes the session internal"}, func(to *rawPeer, i uint64) { to.ASN = uint32(i) }),
	addressKey("peer-address", value{required: true, doc: "the peer's IP address"}, func(to *rawPeer, a netip.Addr) { to.Address = a }),
	number("peer-port", value{byDefault: "179", max: math.MaxUint16, doc: "the peer's TCP port"}, func(to *rawPeer, i uint64) { to.Port = uint16(i) }),
	addressKey("source-address", value{byDefault: "the kernel's choice", doc: "the IP address to connect from"}, func(to *rawPeer, a netip.Addr) { to.SourceAddress = a }),
	secondsKey("hold-time", value{byDefault: "90s", doc: "after how long a silent peer is given up; `0s` for never, else at least 3s"}, func(to *rawPeer, d *time.Duration) { to.holdTime = d }),
	secondsKey("keepalive-time", value{byDefault: "a third of `hold-time`", doc: "how often the session says that it lives; at most `hold-time`"}, func(to *rawPeer, d *time.Duration) { to.keepaliveTime = d }),
	addressKey("router-id", value{byDefault: "the node's IPv4 address", doc: "an IPv4 address that is nobody else's router ID"}, func(to *rawPeer, a netip.Addr) { to.RouterID = a }),
	text("password", value{byDefault: "none", doc: "of TCP MD5"}, func(to *rawPeer, s string) { to.Password = s }),
	text("bfd-profile", value{byDefault: "no BFD", doc: "one of `bfd-profiles`"}, func(to *rawPeer, s string) { to.BFDProfile = s }),
	boolean("ebgp-multihop", value{byDefault: "false", doc: "`true`: the peer, of another AS, is more than one hop away"}, func(to *rawPeer, b bool) { to.EBGPMultihop = b }),
	selectors("node-selectors", value{byDefault: "all", doc: "only nodes with matching labels hold the session"},
		func(to *rawPeer, s labels.Selector) { to.NodeSelectors = append(to.NodeSelectors, s) }),
}}

func addressKey(name string, v value, set func(*rawPeer, netip.Addr)) key[rawPeer] {
	v.kind = aString
	return key[rawPeer]{name, v, func(p *parser, n *yaml.Node, to *rawPeer) {
		if addr, ok := p.address(n); ok {
			set(to, addr)
		}
	}}
}

func secondsKey(name string, v value, set func(*rawPeer, *time.Duration)) key[rawPeer] {
	v.kind = aDuration
	return key[rawPeer]{name, v, func(p *parser, n *yaml.Node, to *rawPeer) {
		errorsBefore := len(p.errs)
		if d, ok := p.seconds(n); ok {
			set(to, &d)
		}
		to.broken = to.broken || len(p.errs) > errorsBefore
	}}
}

func (p *parser) readPeer(n *yaml.Node, to *Config) {
	errorsBefore := len(p.errs)
	raw := rawPeer{Peer: Peer{Line: n.Line}}
	lines := readSection(p, n, peerSection, &raw)
	if n.Kind != yaml.MappingNode {
		if isNull(n) { // else it is said already
			p.errorf(n.Line, "a peer must be a mapping of keys to values")
		}
		return
	}
	for _, k := range peerSection.keys {
		if _, there := lines[k.name]; k.required && !there {
			p.key = k.name
			p.errorf(n.Line, "the peer has none, and needs one")
		}
	}
	complain := func(key, format string, args ...any) {
		p.key = key
		p.errorf(lineOr(lines, key, n.Line), format, args...)
	}
	peer := &raw.Peer
	if peer.Port == 0 {
		peer.Port = DefaultPeerPort
	}
	if !raw.broken {
		p.checkTimers(&raw, complain)
	}
	if peer.RouterID.IsValid() && !peer.RouterID.Is4() {
		complain("router-id", "%s is not an IPv4 address", peer.RouterID)
	}
	if peer.SourceAddress.IsValid() && peer.Address.IsValid() && peer.SourceAddress.Is4() != peer.Address.Is4() {
		complain("source-address", "%s and the peer's %s are of different families", peer.SourceAddress, peer.Address)
	}
	if _, ok := p.profiles[peer.BFDProfile]; !ok && peer.BFDProfile != "" {
		complain("bfd-profile", "there is no %q under bfd-profiles", peer.BFDProfile)
	}
	if peer.EBGPMultihop && peer.MyASN == peer.ASN && peer.ASN != 0 {
		complain("ebgp-multihop", "my-asn and peer-asn are the same, which makes the peer an internal one: remove this key")
	}
	if len(p.errs) > errorsBefore {
		return
	}
	for _, earlier := range to.Peers {
		if a, b := earlier, *peer; samePeer(a, b) {
			p.key = ""
			p.errorf(n.Line, "is the same as the peer on line %d", earlier.Line)
		}
	}
	to.Peers = append(to.Peers, *peer)
}

func samePeer(a, b Peer) bool {
	a.Line, b.Line = 0, 0
	return reflect.DeepEqual(a, b)
}

func (p *parser) checkTimers(raw *rawPeer, complain func(key, format string, args ...any)) {
	raw.HoldTime = DefaultHoldTime
	if raw.holdTime != nil {
		raw.HoldTime = *raw.holdTime
	}
	if raw.HoldTime > 0 && raw.HoldTime < 3*time.Second {
		complain("hold-time", "%s is less than 3s, the shortest that RFC 4271 allows beside 0s", raw.HoldTime)
	}
	if raw.HoldTime > math.MaxUint16*time.Second {
		complain("hold-time", "%s is more than 65535s", raw.HoldTime)
	}
	raw.KeepaliveTime = (raw.HoldTime / 3).Truncate(time.Second)
	if raw.keepaliveTime != nil {
		raw.KeepaliveTime = *raw.keepaliveTime
	}
	if raw.KeepaliveTime > raw.HoldTime {
		complain("keepalive-time", "%s is more than the hold-time of %s", raw.KeepaliveTime, raw.HoldTime)
	}
}

// rawAdvertisement is an advertisement as it stands in the text.
type rawAdvertisement struct {
	Advertisement
	asWritten map[string]any
	lines     map[string]int
	line      int
	broken    bool // something in it could not be read, which is said already
}

var advertisementSection = section[rawAdvertisement]{name: "a BGP advertisement", keys: []key[rawAdvertisement]{
	number("aggregation-length", value{byDefault: "32", max: 32, doc: "prefix length of IPv4 routes; none may be wider than an entry under `addresses`"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLength, to.asWritten["aggregation-length"] = int(i), i
		}),
	number("aggregation-length-v6", value{byDefault: "128", max: 128, doc: "the same for IPv6"},
		func(to *rawAdvertisement, i uint64) {
			to.AggregationLengthV6, to.asWritten["aggregation-length-v6"] = int(i), i
		}),
	number("localpref", value{byDefault: "0", max: math.MaxUint32, doc: "LOCAL_PREF, for internal peers"},
		func(to *rawAdvertisement, i uint64) { to.LocalPref, to.asWritten["localpref"] = uint32(i), i }),
	list("communities", value{byDefault: "none", doc: "names of `bgp-communities`, or numbers like `64512:100`", example: "[no-export, 64512:100]"}, readAdvertised),
}}

func (p *parser) readAdvertisement(n *yaml.Node, to *rawPool) {
	ad := rawAdvertisement{line: n.Line, asWritten: map[string]any{}}
	ad.AggregationLength, ad.AggregationLengthV6 = 32, 128
	errorsBefore := len(p.errs)
	ad.lines = readSection(p, n, advertisementSection, &ad)
	ad.broken = len(p.errs) > errorsBefore
	to.advertisements = append(to.advertisements, ad)
}

func readAdvertised(p *parser, n *yaml.Node, to *rawAdvertisement, s string) {
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
			p.errorf(n.Line, "%q is neither under bgp-communities nor a community like 64512:100", s)
			return
		}
	}
	if !slices.Contains(to.Communities, community) {
		to.Communities = append(to.Communities, community)
	}
}

func (p *parser) readCommunities(n *yaml.Node) {
	for _, e := range p.mapping(n, "this") {
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

func parseCommunity(text string) (Community, error) {
	high, low, _ := strings.Cut(text, ":")
	h, errHigh := strconv.ParseUint(high, 10, 16)
	l, errLow := strconv.ParseUint(low, 10, 16)
	if errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("%q is not a community: write two numbers up to 65535, like 64512:100", text)
	}
	return Community(h<<16 | l), nil
}

var profileSection = section[BFDProfile]{name: "a BFD profile", keys: []key[BFDProfile]{
	text("name", value{required: true, doc: "unique among the profiles"}, func(to *BFDProfile, s string) { to.Name = s }),
	number("receive-interval", value{byDefault: "the engine's", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.ReceiveInterval = asUint32(i) }),
	number("transmit-interval", value{byDefault: "the engine's", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.TransmitInterval = asUint32(i) }),
	number("echo-interval", value{byDefault: "the engine's", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.EchoInterval = asUint32(i) }),
	number("detect-multiplier", value{byDefault: "the engine's", min: 2, max: 255, doc: "how many packets may be missing"}, func(to *BFDProfile, i uint64) { to.DetectMultiplier = asUint32(i) }),
	number("minimum-ttl", value{byDefault: "the engine's", min: 1, max: 254, doc: "of packets from a peer more than one hop away"}, func(to *BFDProfile, i uint64) { to.MinimumTTL = asUint32(i) }),
	boolean("echo-mode", value{byDefault: "false", doc: "send echo packets"}, func(to *BFDProfile, b bool) { to.EchoMode = b }),
	boolean("passive-mode", value{byDefault: "false", doc: "wait for the peer to begin"}, func(to *BFDProfile, b bool) { to.PassiveMode = b }),
}}

func asUint32(i uint64) *uint32 {
	u := uint32(i)
	return &u
}

func (p *parser) readProfile(n *yaml.Node, to *Config) {
	profile := BFDProfile{Line: n.Line}
	lines := readSection(p, n, profileSection, &profile)
	p.unique(p.profiles, "BFD profile", profile.Name, lineOr(lines, "name", n.Line), n.Line)
	to.BFDProfiles = append(to.BFDProfiles, profile)
}
