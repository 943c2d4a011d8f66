package wire

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
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
	eventually(t, "the kernel is checked", func() bool { return s.Obstacle() == "" })
	return s
}

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
	s.Set(spreadOver(t, "eth0", second4, second6))
	eventually(t, "the rules are written", func() bool { return strings.Count(listed(t), "chain prerouting") == 2 })
	before := listed(t)
	s.stop()
	if got := listed(t); got != before {
		t.Errorf("after the end of the speaker:\n%s", got)
	}
	again := startSpreader(t)
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
