package wire

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
)

// handedOn is where a segment went, and its TTL.
type handedOn struct {
	to  [6]byte
	ttl byte
}

// neighbor tells the kernel the MAC address of a host.
func neighbor(t *testing.T, host netip.Addr, mac [6]byte) {
	t.Helper()
	ip(t, "neigh replace "+host.String()+" lladdr "+net.HardwareAddr(mac[:]).String()+" dev eth0")
}

// spreadOnEth0 writes the rules for VIPs on the link eth0.
func spreadOnEth0(t *testing.T, tables map[netip.Addr]*spread.Table) {
	t.Helper()
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	w := spread.Wanted{Links: map[string]int{"eth0": ifi.Index}}
	for vip, table := range tables {
		w.VIPs = append(w.VIPs, spread.VIP{Addr: vip, Link: "eth0", Table: table})
	}
	s := startSpreader(t)
	s.Set(w)
	eventually(t, "the rules are written", s.hasRules)
}

// A node that cannot hand on is asked when the segment has come around. It is never asked for what may be a
// segment of a connection of this node: its pod would reset the connection.
func TestSpreadAsksANodeThatCannotHandOnInTheEnd(t *testing.T) {
	w := plug(t, "eth0", mac0)
	ip(t, "addr add 192.0.2.9/24 dev eth0")
	next, last := [6]byte{2, 0, 0, 0, 0, 0x22}, [6]byte{2, 0, 0, 0, 0, 0x33}
	third4 := second4.Next()
	neighbor(t, second4, next)
	neighbor(t, third4, last)
	ring, alone := &spread.Table{Ring: 2}, &spread.Table{Ring: 1}
	for slot := range election.Slots {
		ring.Next[slot], ring.Last[slot], alone.Last[slot] = second4, third4, third4
	}
	inRing, isAlone := vip4, vip4.Next()
	spreadOnEth0(t, map[netip.Addr]*spread.Table{inRing: ring, isAlone: alone})
	leaves := listenForSegments(t)
	port, none := uint16(1024), handedOn{}
	for _, tt := range []struct {
		name       string
		vip        netip.Addr
		ttl, flags byte
		want       handedOn
	}{
		{"from a client", inRing, 64, ack, handedOn{next, 6}},
		{"from another node", inRing, 6, ack, handedOn{next, 5}},
		{"it has come around", inRing, 5, ack, handedOn{last, 4}},
		{"it was handed to a node without rules, which has them now", inRing, 4, ack, none},
		{"the end of a connection has come around", inRing, 5, fin | ack, handedOn{last, 4}},
		{"conntrack does not know what it is", inRing, 64, 0, handedOn{next, 6}},
		{"conntrack does not know what it is, and it has come around", inRing, 5, 0, none},
		{"no other node can hand on", isAlone, 64, ack, handedOn{last, 4}},
		{"no other node can hand on, and conntrack does not know what it is", isAlone, 64, 0, none},
	} {
		port += 2
		w.put(segment4(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, tt.vip, port, tt.ttl, tt.flags))
		w.put(segment4(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, inRing, port+1, 64, ack)) // it is handed on after the other one
		if got := leaves(port, port+1); got != tt.want {
			t.Errorf("%s: handed on to %x, want %x", tt.name, got, tt.want)
		}
	}
}

// The kernel does not translate what conntrack calls invalid to the address of a pod. It would route it to
// the VIP, so to the announcer, which would take it for a new connection.
func TestSpreadRoutesNothingThatIsInvalidToTheAnnouncer(t *testing.T) {
	w := plug(t, "eth0", mac0)
	ip(t, "addr add 192.0.2.9/24 dev eth0")
	for name, value := range map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/eth0/rp_filter": "0"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	announcer, next := [6]byte{2, 0, 0, 0, 0, 0x11}, [6]byte{2, 0, 0, 0, 0, 0x22}
	neighbor(t, vip4, announcer)
	neighbor(t, second4, next)
	table := &spread.Table{Ring: 2}
	for slot := range election.Slots {
		table.Next[slot] = second4
	}
	spreadOnEth0(t, map[netip.Addr]*spread.Table{vip4: table})
	leaves := listenForSegments(t)
	port := uint16(1024)
	for _, tt := range []struct {
		name  string
		flags byte
		want  handedOn
	}{
		{"kube-proxy would take it", ack, handedOn{announcer, 4}}, // there is none here
		{"out of the window of a connection", 0, handedOn{}},
		{"the end of a connection that no node knows", fin | ack, handedOn{}},
	} {
		port += 2
		w.put(segment4(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, vip4, port, 5, tt.flags)) // it has come around
		w.put(segment4(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, vip4, port+1, 64, ack))   // it is handed on after the other one
		if got := leaves(port, port+1); got != tt.want {
			t.Errorf("%s: it left to %x, want %x", tt.name, got, tt.want)
		}
	}
}

// listenForSegments returns a function that says where the segment from a port went, before the
// one from another port: the zero value for nowhere.
func listenForSegments(t *testing.T) func(from, until uint16) handedOn {
	t.Helper()
	ifi, err := net.InterfaceByName("wire-eth0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(from, until uint16) (seen handedOn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for f := make([]byte, 2000); ; {
			n, _, err := conn.ReadFrom(f)
			if err != nil {
				t.Fatalf("waiting for the segment from port %d: %v", until, err)
			}
			if n < 54 || bytes.Equal(f[6:12], client) || f[12] != 0x08 || f[13] != 0 || f[23] != unix.IPPROTO_TCP {
				continue // not from the node, or no TCP
			}
			switch binary.BigEndian.Uint16(f[34:]) {
			case from:
				seen = handedOn{[6]byte(f[:6]), f[22]}
			case until:
				return seen
			}
		}
	}
}
