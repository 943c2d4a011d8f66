package wire

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// BenchmarkFiveThousandPrefixesToTwoPeers measures the time from Set until both routers
// have all prefixes, and the time from Set until they have none. It also measures the
// memory of this process, of which the announcer uses nearly all.
func BenchmarkFiveThousandPrefixesToTwoPeers(b *testing.B) {
	const n = 5000
	var routes []bgp.Route
	for i := range n {
		routes = append(routes, bgp.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32), Communities: []uint32{64512<<16 | 7}})
	}
	bird, frr := wireRouter(b, 0), wireRouter(b, 1)
	peers := []bgp.Peer{bird.peer("bird", false, true), frr.peer("frr", false, true)}
	bird.start("BIRD", peers[0])
	frr.start("FRR", peers[1])
	a := advertise(b)
	a.Set(peers, nil)
	a.waitUp(peers...)
	haveAll := func(n int) {
		b.Helper()
		eventually(b, fmt.Sprintf("both routers have %d routes", n), func() bool {
			return strings.Contains(bird.ask("show route count"), fmt.Sprintf("%d of %d routes for %d networks in table master4", n, n, n)) &&
				strings.Contains(frr.ask("show bgp ipv4 unicast summary json"), fmt.Sprintf(`"pfxRcd":%d,`, n))
		})
	}
	heap, rss := memory(b)
	var announce, withdraw time.Duration
	for b.Loop() {
		begun := time.Now()
		a.Set(peers, routes)
		haveAll(n)
		announce += time.Since(begun)
		b.StopTimer()
		h, r := memory(b)
		b.ReportMetric(float64(h-heap)/1e6, "MB-heap")
		b.ReportMetric(float64(r-rss)/1e6, "MB-resident")
		b.StartTimer()
		begun = time.Now()
		a.Set(peers, nil)
		haveAll(0)
		withdraw += time.Since(begun)
	}
	b.ReportMetric(float64(announce.Milliseconds())/float64(b.N), "ms-announced")
	b.ReportMetric(float64(withdraw.Milliseconds())/float64(b.N), "ms-withdrawn")
}

// memory returns the bytes in use on the heap after a collection, and those that
// are resident.
func memory(tb testing.TB) (heap, resident int64) {
	tb.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		tb.Fatal(err)
	}
	return int64(m.HeapAlloc), kb << 10
}
