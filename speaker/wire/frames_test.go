package wire

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

func arpFrame(t testing.TB, op arp.Operation, to, from net.HardwareAddr, sender, target netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, from, sender, make(net.HardwareAddr, 6), target)
	if err != nil {
		t.Fatal(err)
	}
	body, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(to, from, []byte{0x08, 0x06}, body)
}

func question(t testing.TB, target netip.Addr) []byte {
	t.Helper()
	return arpFrame(t, arp.OperationRequest, everyone, client, client4, target)
}

func parseARP(t testing.TB, f []byte) arp.Packet {
	t.Helper()
	var p arp.Packet
	if f[12] != 0x08 || f[13] != 0x06 {
		t.Fatalf("no ARP: %x", f)
	}
	if err := p.UnmarshalBinary(f[14:]); err != nil {
		t.Fatal(err)
	}
	return p
}

// ndFrame is a neighbor discovery message with the hop limit that it must have.
func ndFrame(t testing.TB, to, from net.HardwareAddr, source, dest netip.Addr, m ndp.Message) []byte {
	t.Helper()
	body, err := ndp.MarshalMessageChecksum(m, source, dest)
	if err != nil {
		t.Fatal(err)
	}
	ip := make([]byte, 40)
	ip[0], ip[5], ip[6], ip[7] = 0x60, byte(len(body)), 58, 255
	copy(ip[8:], source.AsSlice())
	copy(ip[24:], dest.AsSlice())
	return slices.Concat(to, from, []byte{0x86, 0xdd}, ip, body)
}

// solicitation asks for target; dest is the solicited-node group if not valid.
func solicitation(t testing.TB, to net.HardwareAddr, source, dest, target netip.Addr, options ...ndp.Option) []byte {
	t.Helper()
	if !dest.IsValid() {
		group, err := ndp.SolicitedNodeMulticast(target)
		if err != nil {
			t.Fatal(err)
		}
		dest = group
		b := group.As16()
		to = net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
	}
	return ndFrame(t, to, client, source, dest, &ndp.NeighborSolicitation{TargetAddress: target, Options: options})
}

func sourceOption() ndp.Option {
	return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: client}
}

func parseNA(t testing.TB, f []byte) *ndp.NeighborAdvertisement {
	t.Helper()
	m, err := ndp.ParseMessage(f[54:])
	if err != nil {
		t.Fatal(err)
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok || f[21] != 255 {
		t.Fatalf("got %+v with hop limit %d", m, f[21])
	}
	return na
}
