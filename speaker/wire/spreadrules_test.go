package wire

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/tablewatch"
)

var update = flag.Bool("update", false, "write the expected rules")

// spreader is a Spreader that runs.
type spreader struct {
	*spread.Spreader
	metrics *prometheus.Registry
	stop    func()
}

func startSpreader(t *testing.T) spreader {
	t.Helper()
	s := spreader{metrics: prometheus.NewRegistry()}
	s.Spreader = spread.New(spread.Options{Log: slog.New(slog.DiscardHandler), Metrics: s.metrics, Changed: func() {}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	s.stop = func() { cancel(); <-done }
	t.Cleanup(func() { s.stop(); s.Remove() })
	eventually(t, "the kernel is checked", func() bool { return s.Status().Obstacle == "" })
	return s
}

func (s spreader) hasRules() bool { return s.Status().HasRules }

// listed returns the tables as nft lists them, without times and counters.
func listed(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	for _, family := range []string{"netdev", "ip", "ip6"} {
		cmd := exec.Command("nft", "--stateless", "list", "table", family, spread.TableName)
		cmd.Stdout = &all
		_ = cmd.Run() // it fails if there is no such table
	}
	return all.String()
}

// spreadOver spreads two VIPs of a link over this node and a second one, slot by slot.
func spreadOver(t *testing.T, link string, second4, second6 netip.Addr) spread.Wanted {
	t.Helper()
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	half4, half6 := &spread.Table{Ring: 3}, &spread.Table{Ring: 3}
	for slot := 0; slot < len(half4.Carriers); slot += 64 { // few, so that the expected rules can be read
		half4.Carriers[slot], half6.Carriers[slot] = second4, second6
		half4.Next[slot+1], half6.Next[slot+1] = second4, second6
		half4.Last[slot+2], half6.Last[slot+2] = second4, second6
	}
	return spread.Wanted{
		Links: map[string]int{link: ifi.Index}, Members: [][6]byte{{2, 0, 0, 0, 0, 9}}, Nodes: map[netip.Addr]string{second4: "node2", second6: "node2"},
		VIPs: []spread.VIP{
			{Addr: vip4, Link: link, Table: half4}, {Addr: vip4.Next(), Link: link, Table: half4},
			{Addr: vip6, Link: link, Table: half6, ByAddress: true},
		},
	}
}

var second4, second6 = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::2")

// nft reads what the speaker has written byte by byte, so this shows that the kernel was told what
// is meant.
func TestSpreadRulesAreThoseThatNftReads(t *testing.T) {
	plug(t, "eth0", mac0)
	s := startSpreader(t)
	s.Set(spreadOver(t, "eth0", second4, second6))
	eventually(t, "the rules are written", func() bool { return strings.Count(listed(t), "chain prerouting") == 2 })
	golden := filepath.Join("testdata", "spread.nft")
	if *update {
		if err := os.WriteFile(golden, []byte(listed(t)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := listed(t); got != string(want) {
		t.Errorf("nft reads\n%s\nwant\n%s", got, want)
	}
}

func TestSpreadRulesStayWhenTheSpeakerEnds(t *testing.T) {
	plug(t, "eth0", mac0)
	s := startSpreader(t)
	if s.Status().HandsOn {
		t.Error("it says that it hands on, without rules")
	}
	s.Set(spreadOver(t, "eth0", second4, second6))
	eventually(t, "the rules are written", func() bool { return strings.Count(listed(t), "chain prerouting") == 2 })
	before := listed(t)
	s.stop()
	if got := listed(t); got != before {
		t.Errorf("after the end of the speaker:\n%s", got)
	}
	again := startSpreader(t)
	if !again.Status().HandsOn {
		t.Error("the next speaker does not find the rules")
	}
	again.Set(spreadOver(t, "eth0", second4, second6))
	eventually(t, "the next speaker says that it spreads", func() bool { return gauge(t, again.metrics, "baremetal_spread_active") == 1 })
	if got := listed(t); got != before {
		t.Errorf("after the start of the next speaker:\n%s", got)
	}
}

func TestSpreadRulesFollowWhatIsWanted(t *testing.T) {
	plug(t, "eth0", mac0)
	s := startSpreader(t)
	w := spreadOver(t, "eth0", second4, second6)
	for _, step := range []struct {
		what, has string
		want      spread.Wanted
	}{
		{"two families", "192.0.2.2", w},
		{"another node", "192.0.2.3", spreadOver(t, "eth0", second4.Next(), second6.Next())},
		{"one address", "192.0.2.7 : goto", spread.Wanted{Links: w.Links, VIPs: w.VIPs[:1]}},
		{"a second table for the second address", "192.0.2.8 : goto flows-2", spread.Wanted{Links: w.Links, VIPs: []spread.VIP{w.VIPs[0], {Addr: vip4.Next(), Link: "eth0", Table: &spread.Table{}}}}},
	} {
		s.Set(step.want)
		eventually(t, step.what, func() bool { return strings.Contains(listed(t), step.has) })
	}
	s.Set(spread.Wanted{})
	eventually(t, "the tables are removed", func() bool { return listed(t) == "" })
}

// Writing all tables anew for one more Service would cost seconds with many Services, and the counters.
func TestSpreadRulesOfOneServiceChangeAlone(t *testing.T) {
	plug(t, "eth0", mac0)
	s := startSpreader(t)
	w := spreadOver(t, "eth0", second4, second6)
	s.Set(w)
	eventually(t, "the rules are written", func() bool { return strings.Contains(listed(t), "flows-2") })
	handle := func() string {
		out, err := exec.Command("nft", "--handle", "list", "table", "netdev", spread.TableName).Output()
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	before := handle()
	wider, other := *w.VIPs[0].Table, *w.VIPs[0].Table
	wider.Ring, other.Carriers[1] = 4, second4
	split := slices.Clone(w.VIPs)
	split[1].Table = &other
	for _, step := range []struct {
		what, has, hasNot string
		vips              []spread.VIP
	}{
		{"the second address has slots of its own", "192.0.2.8 : goto flows-3", "192.0.2.7 : goto flows-3", split},
		{"the second address is gone", "192.0.2.7", "flows-3", []spread.VIP{w.VIPs[0], w.VIPs[2]}},
		{"the ring has one more node", "ttl > 9", "ttl > 8", []spread.VIP{{Addr: vip4, Link: "eth0", Table: &wider}, w.VIPs[2]}},
	} {
		s.Set(spread.Wanted{Links: w.Links, Members: w.Members, Nodes: w.Nodes, VIPs: step.vips})
		eventually(t, step.what, func() bool { return strings.Contains(listed(t), step.has) && !strings.Contains(listed(t), step.hasNot) })
	}
	if got := handle(); got != before {
		t.Errorf("the table was %q, and is %q now", before, got)
	}
}

// BenchmarkOneMoreServiceBeside1000 has Services with the policy Local whose pods are all on different
// nodes: no two of them share a table.
func BenchmarkOneMoreServiceBeside1000(b *testing.B) {
	plug(b, "eth0", mac0)
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		b.Fatal(err)
	}
	w := spread.Wanted{Links: map[string]int{"eth0": ifi.Index}}
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range 1001 {
		addr = addr.Next()
		table := &spread.Table{Ring: 4}
		for slot := range table.Carriers {
			if slot%3 != 0 {
				table.Carriers[slot] = second4
			}
			table.Next[slot] = second4
		}
		table.Carriers[i%256], table.Next[i/256] = second4.Next(), second4.Next() // all tables differ
		w.VIPs = append(w.VIPs, spread.VIP{Addr: addr, Link: "eth0", New: true, Table: table})
	}
	s := spread.New(spread.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Changed: func() {}})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	defer func() { cancel(); <-done; s.Remove() }()
	show := func(vip netip.Addr) bool {
		out, _ := exec.Command("nft", "--stateless", "list", "map", "ip", spread.TableName, "vips4-eth0").Output()
		return strings.Contains(string(out), vip.String()+" :")
	}
	one, all := w, w
	one.VIPs = w.VIPs[:1000]
	start := time.Now()
	s.Set(one)
	for !s.Status().HasRules {
		time.Sleep(time.Millisecond)
	}
	first := time.Since(start)
	last := w.VIPs[1000].Addr
	for b.Loop() {
		s.Set(all)
		for !show(last) {
			time.Sleep(time.Millisecond)
		}
		s.Set(one)
		for show(last) {
			time.Sleep(time.Millisecond)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	var peak float64
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(kb, &peak); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(first.Seconds(), "s/first")
	b.ReportMetric(peak/1024, "MiB/peak")
}

// The nftables.service of a distribution does this at each restart.
func TestRulesComeBackAtOnceAfterAFlush(t *testing.T) {
	plug(t, "eth0", mac0)
	s := startSpreader(t)
	closed := closedports.New(closedports.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	watch := tablewatch.New(tablewatch.Options{Tables: []string{spread.TableName, closedports.TableName}, Log: slog.New(slog.DiscardHandler), Removed: func() { s.Repair(); closed.Repair() }})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = watch.Run(ctx) })
	running.Go(func() { _ = closed.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	s.Set(spreadOver(t, "eth0", second4, second6))
	closed.Set(closedports.Wanted{Addrs: []netip.Addr{vip4}})
	both := func() bool {
		out, _ := exec.Command("nft", "list", "tables").Output() // while a transaction runs it may fail
		return strings.Contains(string(out), spread.TableName) && strings.Contains(string(out), closedports.TableName)
	}
	eventually(t, "the rules are written", both)
	for range 3 {
		nft(t, "flush ruleset")
		eventually(t, "the rules are back", both)
	}
}

func TestSpreadRulesTouchNoOtherTable(t *testing.T) {
	plug(t, "eth0", mac0)
	nft(t, "add table ip kube-proxy { chain nat-prerouting { type nat hook prerouting priority dstnat; }; }")
	t.Cleanup(func() { nft(t, "delete table ip kube-proxy") })
	s := startSpreader(t)
	s.Set(spreadOver(t, "eth0", second4, second6))
	eventually(t, "the rules are written", func() bool { return listed(t) != "" })
	s.Set(spread.Wanted{})
	eventually(t, "the rules are removed", func() bool { return listed(t) == "" })
	out, err := exec.Command("nft", "list", "tables").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "table ip kube-proxy" {
		t.Errorf("tables: %q, %v", got, err)
	}
}

func nft(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(command)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft %s: %v: %s", command, err, out)
	}
}

func gauge(t *testing.T, metrics *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}
