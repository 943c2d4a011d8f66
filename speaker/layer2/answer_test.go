package layer2

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
)

var (
	ours   = [6]byte{2, 0, 0, 0, 0, 1}
	theirs = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	vip4   = netip.MustParseAddr("192.0.2.7")
	vip6   = netip.MustParseAddr("2001:db8::7")
	host4  = netip.MustParseAddr("192.0.2.1")
	host6  = netip.MustParseAddr("fe80::2")
	vips   = newTable(map[netip.Addr]bool{vip4: true, vip6: true})
)

func ethernet(to, from net.HardwareAddr, ethertype uint16, body []byte) []byte {
	frame := append(append([]byte{}, to...), from...)
	return append(append(frame, byte(ethertype>>8), byte(ethertype)), body...)
}

func arpOf(t testing.TB, op arp.Operation, from net.HardwareAddr, spa, tpa netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, from, spa, make(net.HardwareAddr, 6), tpa)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return ethernet(net.HardwareAddr{255, 255, 255, 255, 255, 255}, from, 0x0806, b)
}

func TestAnswerARP(t *testing.T) {
	zero := netip.IPv4Unspecified()
	tests := []struct {
		name    string
		frame   []byte
		answers bool
		claims  bool
	}{
		{name: "a request for a VIP", frame: arpOf(t, arp.OperationRequest, theirs, host4, vip4), answers: true},
		{name: "a probe", frame: arpOf(t, arp.OperationRequest, theirs, zero, vip4), answers: true},
		{name: "a padded frame", frame: append(arpOf(t, arp.OperationRequest, theirs, host4, vip4), make([]byte, 18)...), answers: true},
		{name: "a request for another address", frame: arpOf(t, arp.OperationRequest, theirs, host4, netip.MustParseAddr("192.0.2.8"))},
		{name: "a reply to us", frame: arpOf(t, arp.OperationReply, theirs, host4, vip4)},
		{name: "our own frame", frame: arpOf(t, arp.OperationRequest, ours[:], host4, vip4)},
		{name: "a gratuitous request", frame: arpOf(t, arp.OperationRequest, theirs, vip4, vip4), claims: true},
		{name: "a gratuitous reply", frame: arpOf(t, arp.OperationReply, theirs, vip4, vip4), claims: true},
		{name: "a request from the VIP", frame: arpOf(t, arp.OperationRequest, theirs, vip4, host4), claims: true},
		{name: "a truncated frame", frame: arpOf(t, arp.OperationRequest, theirs, host4, vip4)[:arpEnd-1]},
		{name: "nothing", frame: nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out [maxAnswer]byte
			answer, addr, v := answerARP(vips, ours, tt.frame, &out)
			if (answer != nil) != tt.answers || (v == verdictAnswered) != tt.answers || (v == verdictClaim) != tt.claims || addr.IsValid() != (tt.answers || tt.claims) {
				t.Fatalf("answer %x, %v %v", answer, v, addr)
			}
			if answer, _, v := answerARP(newTable(map[netip.Addr]bool{vip4: false}), ours, tt.frame, &out); answer != nil || (v == verdictClaim) != tt.claims {
				t.Fatalf("an address that is not announced: answer %x, %v", answer, v)
			}
			if !tt.answers {
				return
			}
			var p arp.Packet
			if err := p.UnmarshalBinary(answer[14:]); err != nil {
				t.Fatal(err)
			}
			if p.Operation != arp.OperationReply || p.SenderIP != vip4 || p.SenderHardwareAddr.String() != net.HardwareAddr(ours[:]).String() ||
				p.TargetHardwareAddr.String() != theirs.String() || net.HardwareAddr(answer[:6]).String() != theirs.String() {
				t.Errorf("answer %+v to %s", p, net.HardwareAddr(answer[:6]))
			}
		})
	}
}

// nd returns a frame with a neighbor discovery message.
func nd(t testing.TB, from net.HardwareAddr, source, dest netip.Addr, m ndp.Message) []byte {
	t.Helper()
	body, err := ndp.MarshalMessageChecksum(m, source, dest)
	if err != nil {
		t.Fatal(err)
	}
	ip := make([]byte, 40)
	ip[0], ip[5], ip[6], ip[7] = 0x60, byte(len(body)), icmpv6, 255
	copy(ip[8:], source.AsSlice())
	copy(ip[24:], dest.AsSlice())
	return ethernet(net.HardwareAddr(ours[:]), from, 0x86dd, append(ip, body...))
}

func changed(frame []byte, at int, to byte) []byte {
	frame[at] = to
	return frame
}

func TestAnswerNS(t *testing.T) {
	sllao := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}}
	group, err := ndp.SolicitedNodeMulticast(vip6)
	if err != nil {
		t.Fatal(err)
	}
	ns := func(source, dest netip.Addr, options ...ndp.Option) []byte {
		return nd(t, theirs, source, dest, &ndp.NeighborSolicitation{TargetAddress: vip6, Options: options})
	}
	other := &ndp.NeighborSolicitation{TargetAddress: netip.MustParseAddr("2001:db8::8")}
	tests := []struct {
		name   string
		frame  []byte
		toMAC  string // of the answer; empty: none
		to     string
		solic  bool
		claims bool
	}{
		{name: "with its link-layer address", frame: ns(host6, group, sllao...), toMAC: "02:00:00:00:00:09", to: "fe80::2", solic: true},
		{name: "without a link-layer address", frame: ns(host6, group), toMAC: "02:00:00:00:00:02", to: "fe80::2", solic: true},
		{name: "unicast, neighbor unreachability detection", frame: ns(host6, vip6), toMAC: "02:00:00:00:00:02", to: "fe80::2", solic: true},
		{name: "duplicate address detection", frame: ns(netip.IPv6Unspecified(), group), toMAC: "33:33:00:00:00:01", to: "ff02::1"},
		{name: "from :: with a link-layer address", frame: ns(netip.IPv6Unspecified(), group, sllao...)},
		{name: "for another address", frame: nd(t, theirs, host6, group, other)},
		{name: "forwarded by a router", frame: changed(ns(host6, group), ipHopLimit, 254)},
		{name: "with a wrong checksum", frame: changed(ns(host6, group), icmpStart+2, 1)},
		{name: "with a code", frame: changed(ns(host6, group), icmpStart+1, 1)},
		{name: "our own", frame: nd(t, ours[:], host6, group, &ndp.NeighborSolicitation{TargetAddress: vip6})},
		{name: "truncated", frame: ns(host6, group)[:ndOptions-1]},
		{name: "an advertisement of the VIP", frame: nd(t, theirs, vip6, allNodes, &ndp.NeighborAdvertisement{TargetAddress: vip6, Override: true}), claims: true},
		{name: "an advertisement from this node's MAC address for another one", frame: nd(t, ours[:], vip6, allNodes, &ndp.NeighborAdvertisement{TargetAddress: vip6, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: theirs}}}), claims: true},
		{name: "this node's own advertisement", frame: unsolicitedNA(ours, vip6)},
		{name: "an advertisement of another address", frame: nd(t, theirs, host6, allNodes, &ndp.NeighborAdvertisement{TargetAddress: host6})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out [maxAnswer]byte
			if answer, _, v := answerNS(newTable(map[netip.Addr]bool{vip6: false}), ours, tt.frame, &out); answer != nil || (v == verdictClaim) != tt.claims {
				t.Fatalf("an address that is not announced: answer %x, %v", answer, v)
			}
			answer, _, v := answerNS(vips, ours, tt.frame, &out)
			if (answer != nil) != (tt.toMAC != "") || (v == verdictClaim) != tt.claims {
				t.Fatalf("answer %x, %v", answer, v)
			}
			if answer == nil {
				return
			}
			na := parseNA(t, answer)
			if got := net.HardwareAddr(answer[:6]).String(); got != tt.toMAC {
				t.Errorf("sent to %s, want %s", got, tt.toMAC)
			}
			if got := netip.AddrFrom16([16]byte(answer[ipTarget:icmpStart])).String(); got != tt.to {
				t.Errorf("sent to %s, want %s", got, tt.to)
			}
			if na.TargetAddress != vip6 || na.Solicited != tt.solic || !na.Override || na.Router {
				t.Errorf("got %+v", na)
			}
		})
	}
}

func parseNA(t *testing.T, frame []byte) *ndp.NeighborAdvertisement {
	t.Helper()
	if _, ok := validND(frame); !ok {
		t.Fatalf("not valid: %x", frame)
	}
	m, err := ndp.ParseMessage(frame[icmpStart:])
	if err != nil {
		t.Fatal(err)
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok || len(na.Options) != 1 {
		t.Fatalf("got %+v", m)
	}
	if l, ok := na.Options[0].(*ndp.LinkLayerAddress); !ok || l.Direction != ndp.Target || l.Addr.String() != net.HardwareAddr(ours[:]).String() {
		t.Errorf("option %+v", na.Options[0])
	}
	return na
}

func TestAnnouncements(t *testing.T) {
	frames := announcements(ours, vip4)
	if len(frames) != 2 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, want := range []struct {
		op  arp.Operation
		tha net.HardwareAddr
	}{{arp.OperationRequest, make(net.HardwareAddr, 6)}, {arp.OperationReply, ours[:]}} {
		var p arp.Packet
		if err := p.UnmarshalBinary(frames[i][14:]); err != nil {
			t.Fatal(err)
		}
		if p.Operation != want.op || p.SenderIP != vip4 || p.TargetIP != vip4 || p.TargetHardwareAddr.String() != want.tha.String() {
			t.Errorf("frame %d: %+v", i, p)
		}
	}
	frames = announcements(ours, vip6)
	if len(frames) != 1 {
		t.Fatalf("%d frames", len(frames))
	}
	if na := parseNA(t, frames[0]); na.Solicited || !na.Override || na.TargetAddress != vip6 {
		t.Errorf("got %+v", na)
	}
}

func TestProbeClaimsNothingAndItsOwnerAnswers(t *testing.T) {
	var out [maxAnswer]byte
	for _, addr := range []netip.Addr{vip4, vip6} {
		frame := probe([6]byte(theirs), addr)
		answer := answerARP
		if addr.Is6() {
			answer = answerNS
		}
		if reply, _, v := answer(vips, ours, frame, &out); v != verdictAnswered || reply == nil {
			t.Errorf("%s: %v", addr, v)
		}
		if _, _, v := answer(newTable(map[netip.Addr]bool{addr: false}), ours, frame, &out); v != verdictNotAnnounced {
			t.Errorf("%s: a node that also probes treats it as %v", addr, v)
		}
	}
}

func TestFilterPassesOnlyRelevantFrames(t *testing.T) {
	ns := &ndp.NeighborSolicitation{TargetAddress: vip6}
	next4, next6 := vip4.Next(), vip6.Next()
	arps, nds := arpFilter(2, []netip.Addr{vip4}), ndpFilter(2, []netip.Addr{vip6})
	tests := []struct {
		name   string
		filter []bpf.Instruction
		frame  []byte
		passes bool
	}{
		{"an ARP request", arps, arpOf(t, arp.OperationRequest, theirs, host4, vip4), true},
		{"an ARP reply that claims the address", arps, arpOf(t, arp.OperationReply, theirs, vip4, host4), true},
		{"an ARP request for another address", arps, arpOf(t, arp.OperationRequest, theirs, host4, next4), false},
		{"an ARP request without addresses", arpFilter(2, nil), arpOf(t, arp.OperationRequest, theirs, host4, vip4), false},
		{"ARP of another hardware type", arps, changed(arpOf(t, arp.OperationRequest, theirs, host4, vip4), arpStart+1, 6), false},
		{"a solicitation", nds, nd(t, theirs, host6, vip6, ns), true},
		{"an advertisement", nds, nd(t, theirs, host6, vip6, &ndp.NeighborAdvertisement{TargetAddress: vip6}), true},
		{"a solicitation of another address", nds, nd(t, theirs, host6, next6, &ndp.NeighborSolicitation{TargetAddress: next6}), false},
		{"a solicitation that a router has forwarded", nds, changed(nd(t, theirs, host6, vip6, ns), ipHopLimit, 64), false},
		{"a router solicitation", nds, nd(t, theirs, host6, vip6, &ndp.RouterSolicitation{}), false},
		{"TCP", nds, changed(nd(t, theirs, host6, vip6, ns), ipNext, 6), false},
	}
	for _, tt := range tests {
		vm, err := bpf.NewVM(tt.filter[len(onlyFor(2)):]) // the VM knows no packet types
		if err != nil {
			t.Fatal(err)
		}
		if n, err := vm.Run(tt.frame); err != nil || (n > 0) != tt.passes {
			t.Errorf("%s: passes %d bytes (%v)", tt.name, n, err)
		}
	}
}

func TestFilterForManyAddressesFitsTheKernel(t *testing.T) {
	const kernelMax = 4096 // BPF_MAXINSNS
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 2, maxSpans, maxSpans + 1, 10000} {
		var addrs []netip.Addr
		for range n {
			addrs = append(addrs, netip.AddrFrom4([4]byte{byte(rng.IntN(256)), byte(rng.IntN(256)), 0, byte(rng.IntN(256))}))
		}
		s := spans(slices.Clone(addrs))
		if len(s) > maxSpans {
			t.Errorf("%d spans", len(s))
		}
		program := arpFilter(2, addrs)
		raw, err := bpf.Assemble(program)
		if err != nil || len(raw) > kernelMax {
			t.Fatalf("%d addresses: %d instructions (%v)", n, len(raw), err)
		}
		vm, err := bpf.NewVM(program[len(onlyFor(2)):])
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range addrs {
			if n, err := vm.Run(arpOf(t, arp.OperationRequest, theirs, host4, addr)); err != nil || n == 0 {
				t.Fatalf("%s does not pass (%v)", addr, err)
			}
		}
		for i := range s {
			if i > 0 && s[i].from <= s[i-1].to+1 || s[i].from > s[i].to {
				t.Errorf("spans %v", s)
			}
		}
	}
}

func TestLimiterLimitsEachHostOnItsOwn(t *testing.T) {
	l := newLimiter()
	host, other := [6]byte{2, 0, 0, 0, 0, 9}, [6]byte{2, 0, 0, 0, 0, 8}
	var now time.Duration
	clock := func() time.Duration { return now }
	allowed := 0
	for range 100_000 {
		if l.allow(clock, host, vip4) {
			allowed++
		}
	}
	if allowed != answersPerSecond {
		t.Errorf("answered %d times at once", allowed)
	}
	if !l.allow(clock, other, vip4) || !l.allow(clock, host, vip6) {
		t.Error("another host, or another address, is refused")
	}
	if now = time.Second; !l.allow(clock, host, vip4) {
		t.Error("is still refused after a second")
	}
}

func FuzzAnswerARP(f *testing.F) {
	f.Add(arpOf(f, arp.OperationRequest, theirs, host4, vip4))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var out [maxAnswer]byte
		if answer, _, _ := answerARP(vips, ours, frame, &out); answer != nil {
			var p arp.Packet
			if err := p.UnmarshalBinary(answer[14:]); err != nil || p.SenderIP != vip4 {
				t.Errorf("%x answers %x: %v", answer, frame, err)
			}
		}
	})
}

func FuzzAnswerNS(f *testing.F) {
	f.Add(nd(f, theirs, host6, vip6, &ndp.NeighborSolicitation{TargetAddress: vip6}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var out [maxAnswer]byte
		if answer, _, _ := answerNS(vips, ours, frame, &out); answer != nil {
			parseNA(t, answer)
		}
	})
}

// manyVIPs is a table of 10,000 addresses.
func manyVIPs() map[netip.Addr]bool {
	t := map[netip.Addr]bool{vip4: true, vip6: true}
	for i := range 9998 {
		t[netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})] = true
	}
	return t
}

func BenchmarkAnswerARPAmong10000(b *testing.B) {
	benchmarkAnswer(b, answerARP, arpOf(b, arp.OperationRequest, theirs, host4, vip4))
}

func BenchmarkAnswerNSAmong10000(b *testing.B) {
	benchmarkAnswer(b, answerNS, nd(b, theirs, host6, vip6, &ndp.NeighborSolicitation{TargetAddress: vip6}))
}

// benchmarkAnswer measures all that is done for a request, without the two system calls.
func benchmarkAnswer(b *testing.B, answer answerer, frame []byte) {
	t, limits, start := newTable(manyVIPs()), newLimiter(), time.Now()
	lease := int64(time.Hour)
	clock := func() time.Duration { return time.Since(start) }
	mayAnswer := func() bool { return int64(time.Since(start)) < lease }
	var out [maxAnswer]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, addr, v := answer(t, ours, frame, &out); v == verdictAnswered && mayAnswer() {
			limits.allow(clock, [6]byte(frame[6:12]), addr)
		}
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	request, ns := arpOf(t, arp.OperationRequest, theirs, host4, vip4), nd(t, theirs, host6, vip6, &ndp.NeighborSolicitation{TargetAddress: vip6})
	var out [maxAnswer]byte
	if n := testing.AllocsPerRun(100, func() { answerARP(vips, ours, request, &out); answerNS(vips, ours, ns, &out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
