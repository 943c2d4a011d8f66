package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
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
	text("name", value{byDefault: "the `peer-address`", doc: "unique among the peers; advertisements, metrics and messages name the peer by it"}, func(to *rawPeer, s string) { to.Name = s }),
	number("my-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "our own AS number"}, func(to *rawPeer, i uint64) { to.MyASN = uint32(i) }),
	number("peer-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "the peer's AS number; the same makes the session internal"}, func(to *rawPeer, i uint64) { to.ASN = uint32(i) }),
	{"peer-address", value{kind: aString, required: true, doc: "the peer's IP address; a link-local one with its interface on the node, `fe80::1%eth0`"}, func(p *parser, n *yaml.Node, to *rawPeer) {
		if addr, ok := p.peerAddress(n); ok {
			to.Address = addr
		}
	}},
	number("peer-port", value{byDefault: "179", max: math.MaxUint16, doc: "the peer's TCP port"}, func(to *rawPeer, i uint64) { to.Port = uint16(i) }),
	addressKey("source-address", value{byDefault: "the kernel's choice", doc: "the IP address to connect from"}, func(to *rawPeer, a netip.Addr) { to.SourceAddress = a }),
	secondsKey("hold-time", value{byDefault: "90s", doc: "after how long a silent peer is given up, whole seconds from 3s on"}, func(to *rawPeer, d *time.Duration) { to.holdTime = d }),
	secondsKey("keepalive-time", value{byDefault: "a third of `hold-time`", doc: "how often the session says that it lives; at most `hold-time`"}, func(to *rawPeer, d *time.Duration) { to.keepaliveTime = d }),
	addressKey("router-id", value{byDefault: "the node's IPv4 address", doc: "an IPv4 address that is nobody else's router ID"}, func(to *rawPeer, a netip.Addr) { to.RouterID = a }),
	text("password", value{byDefault: "none", doc: "of TCP MD5, up to 80 bytes"}, func(to *rawPeer, s string) { to.Password = s }),
	text("password-secret", value{byDefault: "none", doc: "the name of a Secret of type `kubernetes.io/basic-auth` in the namespace of this ConfigMap; its `password` is used as `password` would be"},
		func(to *rawPeer, s string) { to.PasswordSecret = s }),
	text("bfd-profile", value{byDefault: "no BFD", doc: "one of `bfd-profiles`"}, func(to *rawPeer, s string) { to.BFDProfile = s }),
	boolean("ebgp-multihop", value{byDefault: "false", doc: "`true`: the peer, of another AS, is more than one hop away"}, func(to *rawPeer, b bool) { to.EBGPMultihop = b }),
	number("ebgp-multihop-ttl", value{byDefault: "255", min: 2, max: 255, doc: "with `ebgp-multihop`: how many hops away the peer may be"}, func(to *rawPeer, i uint64) { to.MultihopTTL = uint8(i) }),
	secondsKey("graceful-restart", value{byDefault: "off", doc: "how long the peer keeps our routes when a speaker goes away without a word or restarts, up to 4095s; the peer must agree"}, func(to *rawPeer, d *time.Duration) { to.GracefulRestart = *d }),
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

// peerAddress reads an address that has a zone if it is link-local, and only then.
func (p *parser) peerAddress(n *yaml.Node) (netip.Addr, bool) {
	text, ok := p.str(n)
	if addr, err := netip.ParseAddr(text); ok && err == nil && addr.Is6() && addr.IsLinkLocalUnicast() {
		if addr.Zone() == "" {
			p.errorf(deref(n).Line, "%s is on every link: name the nodes' interface to it, like %[1]s%%eth0", addr)
			return netip.Addr{}, false
		}
		return addr, true
	}
	return p.address(n)
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
	p.checkPassword(peer, complain)
	if peer.MultihopTTL != 0 && !peer.EBGPMultihop {
		complain("ebgp-multihop-ttl", "belongs to ebgp-multihop: true, which this peer has not")
	}
	if peer.GracefulRestart > 4095*time.Second {
		complain("graceful-restart", "%s is more than 4095s, the most that RFC 4724 allows", peer.GracefulRestart)
	}
	if len(p.errs) > errorsBefore {
		return
	}
	if p.checkAgainst(to.Peers, peer, complain) {
		to.Peers = append(to.Peers, *peer)
	}
}

// checkAgainst compares a peer with those before it, and names it.
func (p *parser) checkAgainst(before []Peer, peer *Peer, complain func(key, format string, args ...any)) bool {
	errorsBefore := len(p.errs)
	for _, earlier := range before {
		switch {
		case samePeer(earlier, *peer):
			p.key = ""
			p.errorf(peer.Line, "is the same as the peer on line %d", earlier.Line)
		case earlier.Address == peer.Address && earlier.BFDProfile != "" && peer.BFDProfile != "" && earlier.BFDProfile != peer.BFDProfile:
			complain("bfd-profile", "the peer on line %d has the same address and the profile %q, and there is one BFD session with an address: write the same", earlier.Line, earlier.BFDProfile)
		}
	}
	if peer.Name == "" {
		peer.Name = peer.Address.String()
		for n := 2; p.peers[peer.Name] != 0; n++ {
			peer.Name = fmt.Sprintf("%s#%d", peer.Address, n)
		}
	} else if first := p.peers[peer.Name]; first != 0 {
		complain("name", "duplicate definition: a peer of this name begins on line %d", first)
	}
	if len(p.errs) > errorsBefore {
		return false
	}
	p.peers[peer.Name] = peer.Line
	return true
}

// maxPassword is the longest that the kernel takes (TCP_MD5SIG_MAXKEYLEN).
const maxPassword = 80

func (p *parser) checkPassword(peer *Peer, complain func(key, format string, args ...any)) {
	if len(peer.Password) > maxPassword {
		complain("password", "has %d bytes, more than the %d of TCP MD5", len(peer.Password), maxPassword)
	}
	if peer.Password != "" && peer.PasswordSecret != "" {
		complain("password-secret", "there is a password, too: remove one of the two keys")
	}
}

// samePeer leaves names out: two of the same are one too many under any name.
func samePeer(a, b Peer) bool {
	a.Line, b.Line, a.Name, b.Name = 0, 0, "", ""
	return reflect.DeepEqual(a, b)
}

func (p *parser) checkTimers(raw *rawPeer, complain func(key, format string, args ...any)) {
	raw.HoldTime = DefaultHoldTime
	if raw.holdTime != nil {
		raw.HoldTime = *raw.holdTime
	}
	switch {
	case raw.HoldTime == 0:
		complain("hold-time", "a session that outlives a silent peer is not supported: write 3s or more, or leave the key out")
		return
	case raw.HoldTime < 3*time.Second:
		complain("hold-time", "%s is less than 3s, the shortest that RFC 4271 allows", raw.HoldTime)
	}
	if raw.HoldTime > math.MaxUint16*time.Second {
		complain("hold-time", "%s is more than 65535s", raw.HoldTime)
	}
	raw.KeepaliveTime = (raw.HoldTime / 3).Truncate(time.Second)
	if raw.keepaliveTime != nil {
		raw.KeepaliveTime = *raw.keepaliveTime
		if raw.KeepaliveTime == 0 {
			complain("keepalive-time", "a session without keepalives is not supported: write 1s or more, or leave the key out")
		}
	}
	if raw.KeepaliveTime > raw.HoldTime {
		complain("keepalive-time", "%s is more than the hold-time of %s", raw.KeepaliveTime, raw.HoldTime)
	}
}
