package config

import (
	"math"
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// rawPeer is a peer as it stands in the text.
type rawPeer struct {
	Peer
	holdTime, keepaliveTime *time.Duration
	broken                  bool // a timer could not be read, and an error was reported
}

var peerSection = section[rawPeer]{name: "a peer", keys: []key[rawPeer]{
	text("name", value{byDefault: "the `peer-address`", doc: "unique among the peers; advertisements, metrics and messages name the peer by it"}, func(to *rawPeer, s string) { to.Name = s }),
	number("my-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "our own AS number"}, func(to *rawPeer, i uint64) { to.MyASN = uint32(i) }),
	number("peer-asn", value{required: true, min: 1, max: math.MaxUint32, doc: "the peer's AS number; the session is internal if it is the same as `my-asn`"}, func(to *rawPeer, i uint64) { to.ASN = uint32(i) }),
	{"peer-address", value{kind: aString, required: true, doc: "the peer's IP address; a link-local address needs the interface of the node, like `fe80::1%eth0`"}, func(p *parser, n *yaml.Node, to *rawPeer) {
		if addr, ok := p.peerAddress(n); ok {
			to.Address = addr
		}
	}},
	number("peer-port", value{byDefault: "179", max: math.MaxUint16, doc: "the peer's TCP port"}, func(to *rawPeer, i uint64) { to.Port = uint16(i) }),
	addressKey("source-address", value{byDefault: "the kernel's choice", doc: "the IP address to connect from"}, func(to *rawPeer, a netip.Addr) { to.SourceAddress = a }),
	secondsKey("hold-time", value{byDefault: "90s", doc: "the session goes down when the peer sends nothing for this time; whole seconds, at least 3s"}, func(to *rawPeer, d *time.Duration) { to.holdTime = d }),
	secondsKey("keepalive-time", value{byDefault: "a third of `hold-time`", doc: "how often keepalives are sent; at most `hold-time`"}, func(to *rawPeer, d *time.Duration) { to.keepaliveTime = d }),
	addressKey("router-id", value{byDefault: "the node's IPv4 address", doc: "an IPv4 address; no other BGP router may have it as its router ID"}, func(to *rawPeer, a netip.Addr) { to.RouterID = a }),
	text("password", value{byDefault: "none", doc: "the TCP MD5 password, up to 80 bytes"}, func(to *rawPeer, s string) { to.Password = s }),
	text("password-secret", value{byDefault: "none", doc: "the name of a Secret of type `kubernetes.io/basic-auth` in the namespace of this ConfigMap; its `password` is the TCP MD5 password"},
		func(to *rawPeer, s string) { to.PasswordSecret = s }),
	text("bfd-profile", value{byDefault: "no BFD", doc: "the name of one of the `bfd-profiles`"}, func(to *rawPeer, s string) { to.BFDProfile = s }),
	boolean("ebgp-multihop", value{byDefault: "false", doc: "`true`: the peer, of another AS, is more than one hop away"}, func(to *rawPeer, b bool) { to.EBGPMultihop = b }),
	number("ebgp-multihop-ttl", value{byDefault: "255", min: 2, max: 255, doc: "with `ebgp-multihop`: how many hops away the peer may be"}, func(to *rawPeer, i uint64) { to.MultihopTTL = uint8(i) }),
	boolean("ttl-security", value{byDefault: "false", doc: "`true`: packets of the peer must have a TTL of 255, and the speaker's packets have it (GTSM, RFC 5082). So only a host on the same link can disturb the session. The peer must be on a link of the node, and must do the same: otherwise the session does not come up."}, func(to *rawPeer, b bool) { to.TTLSecurity = b }),
	secondsKey("graceful-restart", value{byDefault: "off", doc: "how long the peer keeps our routes when a speaker crashes or restarts, up to 4095s; the peer must support it"}, func(to *rawPeer, d *time.Duration) { to.GracefulRestart = *d }),
	selectors("node-selectors", value{byDefault: "all", doc: "only nodes with matching labels have the session"},
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

// peerAddress reads an address. A link-local address must have a zone, and no other
// address may have one.
func (p *parser) peerAddress(n *yaml.Node) (netip.Addr, bool) {
	text, ok := p.str(n)
	if !ok {
		return netip.Addr{}, false
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Is6() && addr.IsLinkLocalUnicast() {
		if len(addr.Zone()) > 15 {
			p.errorf(n, "%s is not the name of an interface", quote.Short(addr.Zone()))
			return netip.Addr{}, false
		}
		if addr.Zone() == "" {
			p.errorf(deref(n), "%s is a link-local address: add the interface of the nodes, like %[1]s%%eth0", addr)
			return netip.Addr{}, false
		}
		return addr, true
	}
	return p.address(n)
}

func secondsKey(name string, v value, set func(*rawPeer, *time.Duration)) key[rawPeer] {
	v.kind = aDuration
	return key[rawPeer]{name, v, func(p *parser, n *yaml.Node, to *rawPeer) {
		errorsBefore := p.errs.count
		if d, ok := p.seconds(n); ok {
			set(to, &d)
		}
		to.broken = to.broken || p.errs.count > errorsBefore
	}}
}

func (p *parser) readPeer(n *yaml.Node, to *Config) {
	errorsBefore := p.errs.count
	raw := rawPeer{Peer: Peer{Line: n.Line}}
	found := readSection(p, n, peerSection, &raw)
	if n.Kind != yaml.MappingNode {
		if isNull(n) { // for all other values readSection has reported it
			p.errorf(n, "a peer must be a mapping of keys to values")
		}
		return
	}
	for _, k := range peerSection.keys {
		if i := found.find(k.name); k.required && (i < 0 || p.blank(found.all[i].value)) {
			p.key = k.name
			p.errorf(found.at(k.name, n), "missing: every peer needs this key")
		}
	}
	complain := func(key, format string, args ...any) {
		p.key = key
		p.errorf(found.at(key, n), format, args...)
	}
	peer := &raw.Peer
	if peer.Port == 0 {
		peer.Port = defaultPeerPort
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
		complain("ebgp-multihop", "my-asn and peer-asn are the same, and ebgp-multihop is only for external peers: remove this key")
	}
	p.checkPassword(peer, complain)
	if peer.MultihopTTL != 0 && !peer.EBGPMultihop {
		complain("ebgp-multihop-ttl", "needs ebgp-multihop: true, which this peer does not have: add it, or remove this key")
	}
	if peer.TTLSecurity && peer.EBGPMultihop {
		complain("ttl-security", "is only for peers on a link, and this peer has ebgp-multihop: true: remove one of the two keys")
	}
	if peer.GracefulRestart > 4095*time.Second {
		complain("graceful-restart", "%s is more than 4095s, the most that RFC 4724 allows", peer.GracefulRestart)
	}
	if p.errs.count > errorsBefore {
		return
	}
	if p.checkAgainstOthers(peer, n, complain) {
		to.Peers = append(to.Peers, *peer)
	}
}

// maxPassword is the length in bytes that the kernel accepts (TCP_MD5SIG_MAXKEYLEN).
const maxPassword = 80

func (p *parser) checkPassword(peer *Peer, complain func(key, format string, args ...any)) {
	if len(peer.Password) > maxPassword {
		complain("password", "has %d bytes, but TCP MD5 allows at most %d", len(peer.Password), maxPassword)
	}
	if peer.Password != "" && peer.PasswordSecret != "" {
		complain("password-secret", "the peer has the key password, too: remove one of the two keys")
	}
}

func (p *parser) checkTimers(raw *rawPeer, complain func(key, format string, args ...any)) {
	raw.HoldTime = defaultHoldTime
	if raw.holdTime != nil {
		raw.HoldTime = *raw.holdTime
	}
	switch {
	case raw.HoldTime == 0:
		complain("hold-time", "a session without a hold time is not supported: write 3s or more, or remove this key")
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
			complain("keepalive-time", "a session without keepalives is not supported: write 1s or more, or remove this key")
		}
	}
	if raw.KeepaliveTime > raw.HoldTime {
		complain("keepalive-time", "%s is more than the hold-time of %s", raw.KeepaliveTime, raw.HoldTime)
	}
}
