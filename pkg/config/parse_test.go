package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Each good file has comments with the expected pools: "# want: name range… [flags]".
func TestParseAcceptsWhatMetalLBAccepted(t *testing.T) {
	files, _ := filepath.Glob("testdata/good-*.yaml")
	if len(files) == 0 {
		t.Fatal("no testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text := read(t, file)
			c, err := config.Parse(text)
			if err != nil {
				t.Fatalf("refused:\n%v", err)
			}
			var got []string
			for _, p := range c.Pools {
				got = append(got, describe(p))
			}
			for _, p := range c.Peers {
				got = append(got, describePeer(p))
			}
			for _, b := range c.BFDProfiles {
				got = append(got, describeProfile(b))
			}
			if c.Reassign {
				got = append(got, "reassign")
			}
			if want := comments(text, "# want: "); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Each bad file has comments with all expected errors: "# error: …".
func TestParseReportsEveryErrorAtOnceWithLinePoolAndKey(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad-*.yaml")
	if len(files) == 0 {
		t.Fatal("no testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text := read(t, file)
			want := comments(text, "# error: ")
			if len(want) == 0 {
				t.Fatal("the file has no comment with an error")
			}
			_, err := config.Parse(text)
			if err == nil {
				t.Fatal("accepted")
			}
			if _, ok := errors.AsType[config.Errors](err); !ok {
				t.Errorf("%T is not config.Errors", err)
			}
			if err.Error() != strings.Join(want, "\n") {
				t.Errorf("got:\n%v\nwant:\n%s", err, strings.Join(want, "\n"))
			}
		})
	}
}

func TestParseOfAnEmptyFileGivesNoPools(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "null", "~", "{}", "address-pools:", "address-pools: []", "peers: []\nbfd-profiles:\n"} {
		c, err := config.Parse([]byte(text))
		if err != nil || len(c.Pools) != 0 {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestParseReadsJSONAndOnlyTheFirstDocument(t *testing.T) {
	c, err := config.Parse([]byte(`{"address-pools": [{"name": "a", "protocol": "layer2", "addresses": ["10.0.0.0/30"]}]}`))
	if err != nil || len(c.Pools) != 1 {
		t.Fatalf("%v, %v", c, err)
	}
	c, err = config.Parse([]byte("address-pools: []\n---\nthis is: [not read\n"))
	if err != nil || len(c.Pools) != 0 {
		t.Fatalf("%v, %v", c, err)
	}
}

func TestParseLimitsMergedMappings(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 {x: 1}\n")
	last := "a0"
	for i := range 30 {
		name := string(rune('b'+i%20)) + strings.Repeat("x", i)
		b.WriteString(name + ": &" + name + " {<<: [*" + last + ", *" + last + "]}\n")
		last = name
	}
	b.WriteString("<<: *" + last + "\n")
	if _, err := config.Parse([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "merged mappings") {
		t.Errorf("got %v", err)
	}
}

func TestPoolOf(t *testing.T) {
	c, err := config.Parse([]byte(`address-pools:
- {name: a, protocol: layer2, addresses: [10.0.2.0/24, 2001:db8::-2001:db8::ff]}
- {name: b, protocol: layer2, addresses: [10.0.1.5-10.0.1.5, 10.0.0.0/24]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"9.255.255.255": "", "10.0.0.0": "b", "10.0.0.255": "b", "10.0.1.0": "", "10.0.1.4": "", "10.0.1.5": "b", "10.0.1.6": "",
		"10.0.2.77": "a", "10.0.3.0": "", "2001:db8::": "a", "2001:db8::ff": "a", "2001:db8::100": "", "::a00:1": "",
	} {
		got := ""
		if p, ok := c.PoolOf(netip.MustParseAddr(addr)); ok {
			got = p.Name
		}
		if got != want {
			t.Errorf("PoolOf(%s) = %q, want %q", addr, got, want)
		}
	}
	if _, ok := (*config.Config)(nil).PoolOf(netip.MustParseAddr("10.0.0.1")); ok {
		t.Error("a missing configuration has a pool")
	}
}

func TestPoolServesAndAnnounces(t *testing.T) {
	c, err := config.Parse(read(t, "testdata/good-own-keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pool, _ := c.Pool("team")
	type labels = map[string]string
	for _, test := range []struct {
		namespace                      string
		namespaceLabels, serviceLabels labels
		want                           bool
	}{
		{"team-a", nil, labels{"expose": "public", "team": ""}, true},
		{"team-c", labels{"tier": "gold"}, labels{"expose": "public", "team": "c"}, true},
		{"team-c", labels{"tier": "iron"}, labels{"expose": "public", "team": "c"}, false},
		{"team-a", nil, labels{"expose": "public"}, false},
	} {
		if got := pool.Serves(test.namespace, test.namespaceLabels, test.serviceLabels); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	if pool.Announces(nil) || !pool.Announces(labels{"edge": ""}) {
		t.Error("the wrong nodes announce")
	}
	if open, _ := c.Pool("at once"); !open.Serves("any", nil, nil) || !open.Announces(nil) {
		t.Error("a pool without selectors does not serve all")
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Fatalf("error %q with configuration %v", err, c)
			}
			return
		}
		names := map[string]bool{}
		for _, p := range c.Pools {
			if names[p.Name] || p.Name == "" || len(p.Ranges) == 0 {
				t.Fatalf("bad pool %+v", p)
			}
			names[p.Name] = true
			if p.Protocol.BGP() && len(p.Advertisements) == 0 {
				t.Fatalf("pool %q has BGP and no advertisement", p.Name)
			}
			for _, r := range p.Ranges {
				for _, addr := range []netip.Addr{r.From, r.To} {
					if q, ok := c.PoolOf(addr); !ok || q.Name != p.Name {
						t.Fatalf("%s of pool %q is found in %v", addr, p.Name, q)
					}
				}
			}
		}
		for _, p := range c.Peers {
			if p.MyASN == 0 || p.ASN == 0 || !p.Address.IsValid() || p.Port == 0 || p.Name == "" || p.KeepaliveTime > p.HoldTime {
				t.Fatalf("bad peer %+v", p)
			}
		}
	})
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func comments(text []byte, prefix string) []string {
	var found []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), prefix); ok {
			found = append(found, rest)
		}
	}
	return found
}

// describe returns a pool in one line, without the values that are the default.
func describe(p config.Pool) string {
	words := []string{p.Name}
	add := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	for _, r := range p.Ranges {
		add(true, "%s", r)
	}
	add(p.Protocol != config.Layer2, "%s", p.Protocol)
	add(!p.AutoAssign, "no-auto-assign")
	add(p.AvoidBuggyIPs, "avoid-buggy-ips")
	for _, ad := range p.Advertisements {
		add(true, "ad(/%d /%d %d %v)", ad.AggregationLength, ad.AggregationLengthV6, ad.LocalPref, ad.Communities)
		add(len(ad.LargeCommunities) > 0, "large=%v", ad.LargeCommunities)
		add(len(ad.Peers) > 0, "to=%v", ad.Peers)
	}
	add(p.Priority != 0, "priority=%d", p.Priority)
	add(len(p.Namespaces) > 0, "namespaces=%v", p.Namespaces)
	add(len(p.NamespaceSelectors) > 0, "namespace-selectors=%v", p.NamespaceSelectors)
	add(len(p.ServiceSelectors) > 0, "service-selectors=%v", p.ServiceSelectors)
	add(len(p.NodeSelectors) > 0, "node-selectors=%v", p.NodeSelectors)
	add(len(p.Interfaces) > 0, "interfaces=%v", p.Interfaces)
	add(p.ReuseDelay != 30*time.Second, "reuse-delay=%v", p.ReuseDelay)
	add(p.MaxPerNamespace != 0, "max-per-namespace=%d", p.MaxPerNamespace)
	add(p.ShareAcrossNamespaces, "share-across-namespaces")
	return strings.Join(words, " ")
}

func describePeer(p config.Peer) string {
	text := fmt.Sprintf("peer %s %d->%d %s:%d hold=%v keepalive=%v", p.Name, p.MyASN, p.ASN, p.Address, p.Port, p.HoldTime, p.KeepaliveTime)
	if p.SourceAddress.IsValid() {
		text += " source=" + p.SourceAddress.String()
	}
	if p.RouterID.IsValid() {
		text += " router-id=" + p.RouterID.String()
	}
	if p.Password+p.BFDProfile != "" || p.EBGPMultihop || len(p.NodeSelectors) > 0 {
		text += fmt.Sprintf(" password=%s bfd=%s multihop=%v nodes=%v", p.Password, p.BFDProfile, p.EBGPMultihop, p.NodeSelectors)
	}
	if p.PasswordSecret != "" || p.MultihopTTL != 0 || p.GracefulRestart != 0 {
		text += fmt.Sprintf(" secret=%s ttl=%d graceful=%v", p.PasswordSecret, p.MultihopTTL, p.GracefulRestart)
	}
	return text
}

func describeProfile(b config.BFDProfile) string {
	return fmt.Sprintf("bfd %s %v %v x%d ttl=%d passive=%v", b.Name, b.ReceiveInterval, b.TransmitInterval, b.DetectMultiplier, b.MinimumTTL, b.PassiveMode)
}
