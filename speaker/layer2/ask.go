package layer2

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// askPause is the time between two requests of Ask.
const askPause = 50 * time.Millisecond

// Ask sends ARP requests for an IPv4 address until a host answers or ctx ends. It
// returns nil after an answer. source is this node's address on the link; the zero
// Addr if it has none.
func Ask(ctx context.Context, l Link, source, addr netip.Addr) error {
	program, err := bpf.Assemble(arpFilter(l.Index, []netip.Addr{addr}))
	if err != nil {
		return fmt.Errorf("assembling the filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC[:]}, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: program})
	if err != nil {
		return fmt.Errorf("opening a socket on %s: %w", l.Name, err)
	}
	defer conn.Close()
	if !source.IsValid() {
		source = netip.IPv4Unspecified()
	}
	request := arpFrame(arp.OperationRequest, l.MAC, source, make(net.HardwareAddr, 6), addr)
	frame := make([]byte, 128)
	for ctx.Err() == nil {
		if _, err := conn.WriteTo(request, &packet.Addr{HardwareAddr: allEthernet}); err != nil {
			return fmt.Errorf("asking for %s on %s: %w", addr, l.Name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(askPause)); err != nil {
			return fmt.Errorf("asking for %s on %s: %w", addr, l.Name, err)
		}
		for {
			n, _, err := conn.ReadFrom(frame)
			if err != nil {
				break // the deadline has passed: ask again
			}
			if _, sender, v := answerARP(newTable(map[netip.Addr]bool{addr: false}), l.MAC, frame[:n], nil); v == verdictClaim && sender == addr {
				return nil
			}
		}
	}
	return fmt.Errorf("%s does not answer on %s: %w", addr, l.Name, ctx.Err())
}

var allEthernet = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
