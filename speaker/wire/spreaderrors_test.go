package wire

import (
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
)

// tooBig returns an ICMP error about a packet of a VIP to a client. The packet begins with a header of
// IPv6 with this next header.
func tooBig(vip netip.Addr, next byte, rest []byte) []byte {
	header := func(from, to netip.Addr, next byte, length int) []byte {
		h := make([]byte, 40)
		h[0], h[5], h[6], h[7] = 0x60, byte(length), next, 64
		copy(h[8:], from.AsSlice())
		copy(h[24:], to.AsSlice())
		return h
	}
	message := slices.Concat([]byte{2, 0, 0, 0, 0, 0, 5, 0}, header(vip, client6, next, len(rest)), rest)
	return slices.Concat(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, client, []byte{0x86, 0xdd}, header(client6, vip, unix.IPPROTO_ICMPV6, len(message)), message)
}

// fragment returns the header of a fragment with a part of a datagram.
func fragment(next byte, offset byte) []byte {
	return append([]byte{next, 0, offset, 1, 0, 0, 0, 9}, make([]byte, 40)...)
}

// A large answer over UDP has fragments, and the node that sent it must learn the MTU of the path.
func TestSpreadForwardsErrorsAboutFragmentsOfIPv6(t *testing.T) {
	w := plug(t, "eth0", mac0)
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	all := &spread.Table{Ring: 2}
	for slot := range all.Carriers {
		all.Carriers[slot] = second6
	}
	byPort, byAddress := vip6, vip6.Next()
	s := startSpreader(t)
	s.Set(spread.Wanted{Links: map[string]int{"eth0": ifi.Index}, VIPs: []spread.VIP{
		{Addr: byPort, Link: "eth0", Table: all}, {Addr: byAddress, Link: "eth0", ByAddress: true, Table: all},
	}})
	eventually(t, "the rules are written", s.hasRules)
	counted := func(maps ...string) (packets int) {
		for _, name := range maps {
			out, err := exec.Command("nft", "list", "map", "netdev", spread.TableName, name).Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1) {
				n, err := strconv.Atoi(string(found[1]))
				if err != nil {
					t.Fatal(err)
				}
				packets += n
			}
		}
		return packets
	}
	for _, tt := range []struct {
		name string
		vip  netip.Addr
		next byte
		rest []byte
		want int
	}{
		{"TCP", byPort, unix.IPPROTO_TCP, make([]byte, 20), 1},
		{"UDP", byPort, unix.IPPROTO_UDP, make([]byte, 20), 1},
		{"the first fragment of UDP", byPort, unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_UDP, 0), 1},
		{"another fragment of UDP", byPort, unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_UDP, 4), 1},
		{"a fragment of a ping", byPort, unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_ICMPV6, 0), 0},
		{"a ping", byPort, unix.IPPROTO_ICMPV6, make([]byte, 20), 0},
		{"a client of one node", byAddress, unix.IPPROTO_TCP, make([]byte, 20), 1},
		{"a fragment for a client of one node", byAddress, unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_UDP, 4), 1},
		{"a fragment of a ping of a client of one node", byAddress, unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_ICMPV6, 0), 0},
	} {
		received, forwarded := counted("vips6-eth0"), counted("slots-1", "slots-2")
		w.put(tooBig(tt.vip, tt.next, tt.rest))
		w.put(tooBig(byPort, unix.IPPROTO_ICMPV6, make([]byte, 20))) // it is not forwarded, and comes after the other one
		eventually(t, tt.name+": the kernel has both errors", func() bool { return counted("vips6-eth0") == received+2 })
		if got := counted("slots-1", "slots-2") - forwarded; got != tt.want {
			t.Errorf("%s: forwarded %d times, want %d", tt.name, got, tt.want)
		}
	}
	for metric, want := range map[string]int{
		"baremetal_spread_forwarded_packets_total": counted("slots-1", "slots-2"),
		"baremetal_spread_received_packets_total":  counted("vips6-eth0"),
	} {
		if got := sum(t, s.metrics, metric); got != want {
			t.Errorf("%s is %d, want %d", metric, got, want)
		}
	}
}

// sum adds up the values of a counter.
func sum(t *testing.T, metrics *prometheus.Registry, name string) (sum int) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}
