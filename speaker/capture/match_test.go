package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

var (
	vip4, vip6   = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	node4, node6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	peer4, peer6 = netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("2001:db8::fe")
	peers        = []netip.AddrPort{netip.AddrPortFrom(peer4, 1179), netip.AddrPortFrom(peer6, 179)}
)

func ethernet(kind uint16, body ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 12), kind), bytes.Join(body, nil)...)
}

func arp(sender, target netip.Addr) []byte {
	b := make([]byte, 28)
	copy(b[14:], sender.AsSlice())
	copy(b[24:], target.AsSlice())
	return ethernet(0x0806, b)
}

func ip(protocol byte, from, to netip.Addr, body ...[]byte) []byte {
	if from.Is4() {
		head := make([]byte, 20)
		head[0], head[9] = 0x45, protocol
		copy(head[12:], from.AsSlice())
		copy(head[16:], to.AsSlice())
		return ethernet(0x0800, head, bytes.Join(body, nil))
	}
	head := make([]byte, 40)
	head[0], head[6] = 0x60, protocol
	copy(head[8:], from.AsSlice())
	copy(head[24:], to.AsSlice())
	return ethernet(0x86dd, head, bytes.Join(body, nil))
}

func ports(from, to uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
}

func nd(kind byte, target netip.Addr) []byte {
	return append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
}

func TestMatchesTheFramesOfTheAddressAndOfThePeers(t *testing.T) {
	for name, test := range map[string]struct {
		frame []byte
		addr  netip.Addr
		want  bool
	}{
		"a question by ARP":               {arp(node4, vip4), vip4, true},
		"an answer by ARP":                {arp(vip4, node4), vip4, true},
		"ARP for another address":         {arp(node4, peer4), vip4, false},
		"a solicitation":                  {ip(protocolICMPv6, node6, vip6, nd(typeNS, vip6)), vip6, true},
		"an advertisement":                {ip(protocolICMPv6, vip6, node6, nd(typeNA, vip6)), vip6, true},
		"a solicitation of another":       {ip(protocolICMPv6, node6, peer6, nd(typeNS, peer6)), vip6, false},
		"an echo request":                 {ip(protocolICMPv6, node6, vip6, nd(128, vip6)), vip6, false},
		"BGP to a peer with its own port": {ip(protocolTCP, node4, peer4, ports(40000, 1179)), vip4, true},
		"BGP from a peer":                 {ip(protocolTCP, peer6, node6, ports(179, 40000)), vip4, true},
		"BGP with another host":           {ip(protocolTCP, node4, vip4, ports(40000, 1179)), vip4, false},
		"TCP to another port of a peer":   {ip(protocolTCP, node4, peer4, ports(40000, 22)), vip4, false},
		"BFD with a peer":                 {ip(protocolUDP, node4, peer4, ports(49152, 3784)), vip4, true},
		"BFD from a peer further away":    {ip(protocolUDP, peer6, node6, ports(49152, 4784)), vip4, true},
		"UDP with a peer":                 {ip(protocolUDP, node4, peer4, ports(49152, 53)), vip4, false},
		"TCP to the address":              {ip(protocolTCP, peer4, vip4, ports(40000, 80)), vip4, false},
	} {
		if got := matches(test.frame, test.addr, peers); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// tcp is a segment whose options are those of the argument.
func tcp(options ...byte) []byte {
	head := make([]byte, 20)
	copy(head, ports(179, 40000))
	head[12] = byte(20+len(options)) / 4 << 4
	return append(append(head, options...), "BGP"...)
}

func TestDigestsOfPasswordsAreNotCaptured(t *testing.T) {
	digest := bytes.Repeat([]byte{0xab}, 16)
	options := append(append([]byte{optionNone, optionNone, 3, 3, 7, optionNone, optionMD5, 18}, digest...), 0, 0, 0, 0)
	for _, frame := range [][]byte{ip(protocolTCP, peer4, node4, tcp(options...)), ip(protocolTCP, peer6, node6, tcp(options...))} {
		before := bytes.Clone(frame)
		hideDigests(frame)
		if bytes.Contains(frame, digest[:1]) {
			t.Errorf("the digest is still there: %x", frame)
		}
		if want := bytes.Replace(before, digest, make([]byte, 16), 1); !bytes.Equal(frame, want) {
			t.Errorf("more was changed than the digest: %x", frame)
		}
	}
	plain := ip(protocolTCP, peer4, node4, tcp(2, 4, 5, 0xb4))
	before := bytes.Clone(plain)
	if hideDigests(plain); !bytes.Equal(plain, before) {
		t.Errorf("a segment without a digest was changed: %x", plain)
	}
}

func TestKernelFilterIsValidForManyPeers(t *testing.T) {
	var many []netip.AddrPort
	for n := range 100 {
		many = append(many, netip.AddrPortFrom(peer4, uint16(1000+n)))
	}
	if _, err := bpf.Assemble(kernelFilter(1, bgpPorts(many))); err != nil {
		t.Error(err)
	}
}

func FuzzFramesOfAnyForm(f *testing.F) {
	f.Add(arp(node4, vip4))
	f.Add(ip(protocolICMPv6, node6, vip6, nd(typeNS, vip6)))
	f.Add(ip(protocolTCP, peer4, node4, tcp(optionMD5, 18)))
	f.Add(ip(protocolTCP, peer6, node6, tcp(optionAO, 200)))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		for _, addr := range []netip.Addr{vip4, vip6} {
			if matches(frame, addr, append(peers, netip.AddrPortFrom(peer4, 179))) {
				hideDigests(frame)
			}
		}
	})
}
