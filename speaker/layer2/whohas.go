package layer2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// whoHasRounds is how often WhoHas asks, whoHasPause is how long it listens after each
	// question.
	whoHasRounds = 3
	whoHasPause  = 300 * time.Millisecond
	// maxHolders bounds how many hosts WhoHas returns.
	maxHolders = 16
)

// Holder is a host that says that it has an address. MAC is the address that the hosts on the
// link learn from it. Source is the source address of its frame.
type Holder struct{ MAC, Source [6]byte }

// WhoHas asks on a link, three times in a second, which hosts have an address. It returns all
// that answer, and those that announce the address in this time. It does not return this node.
//
// source is an address of this node on the link. Then the question is that of a client. The zero
// Addr means that the link has none; then the question is a probe (RFC 5227 section 2.1.1, RFC
// 4862 section 5.4.2). Neither claims the address, so it is no conflict for the host that has it.
func WhoHas(ctx context.Context, l Link, source, addr netip.Addr) ([]Holder, error) {
	protocol, filter, answer, ask := unix.ETH_P_ARP, arpFilter, answerARP, questionARP
	if addr.Is6() {
		protocol, filter, answer, ask = unix.ETH_P_IPV6, ndpFilter, answerNS, questionNS
	}
	question, err := ask(l.MAC, source, addr)
	if err != nil {
		return nil, fmt.Errorf("asking for %s on %s: %w", addr, l.Name, err)
	}
	program, err := bpf.Assemble(filter(l.Index, []netip.Addr{addr}))
	if err != nil {
		return nil, fmt.Errorf("assembling the filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC[:]}, packet.Raw, protocol, &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("opening a socket on %s: %w", l.Name, err)
	}
	defer conn.Close()

	var holders []Holder
	t, frame := newTable(map[netip.Addr]bool{addr: false}), make([]byte, 1518)
	for range whoHasRounds {
		if ctx.Err() != nil {
			return holders, ctx.Err()
		}
		if _, err := conn.WriteTo(question, &packet.Addr{HardwareAddr: question[:6]}); err != nil {
			return holders, fmt.Errorf("asking for %s on %s: %w", addr, l.Name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(whoHasPause)); err != nil {
			return holders, fmt.Errorf("asking for %s on %s: %w", addr, l.Name, err)
		}
		for {
			n, _, err := conn.ReadFrom(frame)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return holders, fmt.Errorf("reading answers for %s on %s: %w", addr, l.Name, err)
			}
			if _, _, v := answer(t, l.MAC, frame[:n], nil); v != verdictClaim {
				continue
			}
			h := Holder{MAC: claimant(frame[:n]), Source: [6]byte(frame[6:12])}
			if len(holders) < maxHolders && !slices.Contains(holders, h) {
				holders = append(holders, h)
			}
		}
	}
	return holders, nil
}

func questionARP(mac [6]byte, source, addr netip.Addr) ([]byte, error) {
	if !source.Is4() {
		return probeARP(mac, addr), nil
	}
	return arpFrame(arp.OperationRequest, mac, source, make(net.HardwareAddr, 6), addr), nil
}

func questionNS(mac [6]byte, source, addr netip.Addr) ([]byte, error) {
	if !source.Is6() {
		return probeNS(mac, addr), nil
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, err
	}
	message, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: addr, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]}},
	}, source, group)
	if err != nil {
		return nil, err
	}
	frame := probeNS(mac, addr)[:icmpStart] // the headers are the same, but for the source and the length
	from := source.As16()
	copy(frame[ipSource:], from[:])
	frame[ipLength], frame[ipLength+1] = byte(len(message)>>8), byte(len(message))
	return append(frame, message...), nil
}
