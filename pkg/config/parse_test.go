package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestParseRefusesAnEmptyConfiguration(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "null", "~", "{}", "--- {}\n", "# a\n---\n# b\n"} {
		c, err := config.Parse([]byte(text))
		if c != nil || err == nil || err.Error() != "the configuration is empty: to have no pools, write address-pools: []" {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestParseAcceptsAConfigurationWithoutPools(t *testing.T) {
	for _, text := range []string{"address-pools:", "address-pools: []", "peers: []\nbfd-profiles:\n", "---\naddress-pools: []\n...\n", "address-pools: []\n---\n# nothing\n"} {
		c, err := config.Parse([]byte(text))
		if err != nil || len(c.Pools) != 0 {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestParseReadsJSON(t *testing.T) {
	c, err := config.Parse([]byte(`{"address-pools": [{"name": "a", "protocol": "layer2", "addresses": ["10.0.0.0/30"]}]}`))
	if err != nil || len(c.Pools) != 1 {
		t.Fatalf("%v, %v", c, err)
	}
}

func TestParseRefusesASecondDocument(t *testing.T) {
	for text, line := range map[string]int{
		"address-pools: []\n---\naddress-pools: []\n":        2,
		"---\naddress-pools: []\n\n--- # more\npeers: []\n":  4,
		"address-pools: []\n---\n---\npeers: []\n":           3,
		"address-pools: []\n---\nthis is: [not valid YAML\n": 2,
		"--- {address-pools: []}\n--- {address-pools: []}\n": 2,
	} {
		_, err := config.Parse([]byte(text))
		if want := fmt.Sprintf("line %d: a second YAML document begins here: ", line); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := config.Parse([]byte("{address-pools: []}\nmore\n")); err == nil || !strings.HasPrefix(err.Error(), "line 2: not valid YAML: ") {
		t.Errorf("text after the document: %v", err)
	}
}

func TestParseKnowsTheColumns(t *testing.T) {
	_, err := config.Parse([]byte("address-pools:\n- name: a\n  protocol: layer3\n  addresses: [10.0.0.0/24, 10.0.0.9]\n  colour: red\n"))
	list, _ := errors.AsType[config.Errors](err)
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%d:%d", e.Line, e.Column))
	}
	if strings.Join(got, " ") != "3:3 4:28 5:3" {
		t.Errorf("got %v from\n%v", got, err)
	}
}

func TestParseWarnsAboutHostBits(t *testing.T) {
	c, err := config.Parse([]byte("address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n  - 192.168.1.201/24\n  - 10.0.0.0/24\n  - 10.0.1.7/32\n  - 2001:db8::7/120\n  - \"::ffff:10.0.2.9/120\"\n  requests: namespace\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`line 5: pool "a": addresses: 192.168.1.201/24 means all addresses of 192.168.1.0/24: write 192.168.1.0/24 for all, or 192.168.1.201/32 for the one address`,
		`line 8: pool "a": addresses: 2001:db8::7/120 means all addresses of 2001:db8::/120: write 2001:db8::/120 for all, or 2001:db8::7/128 for the one address`,
		`line 9: pool "a": addresses: ::ffff:10.0.2.9/120 means all addresses of 10.0.2.0/24: write 10.0.2.0/24 for all, or 10.0.2.9/32 for the one address`,
		`line 10: pool "a": requests: no Service may ask for an address, because the pool has neither namespaces nor namespace-selectors: add one of them, or write requests: none`,
	}
	if got := c.Warnings.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
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
	if _, err := config.Parse([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "aliases (like *name) repeat more than") {
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

func TestPoolRequestable(t *testing.T) {
	c, err := config.Parse(read(t, "testdata/good-own-keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	gold, iron := map[string]string{"tier": "gold"}, map[string]string{"tier": "iron"}
	for _, test := range []struct {
		pool, namespace string
		labels          map[string]string
		want            bool
	}{
		{"team", "team-a", nil, true}, {"team", "team-c", gold, true}, {"team", "team-c", iron, false}, {"team", "team-c", nil, false},
		{"at once", "team-c", nil, true}, {"asked for", "team-a", gold, false},
	} {
		if pool, ok := c.Pool(test.pool); !ok || pool.Requestable(test.namespace, test.labels) != test.want {
			t.Errorf("%+v: %v", test, pool)
		}
	}
	unnamed := config.Pool{Requests: config.RequestsNamespace}
	if unnamed.Requestable("any", gold) {
		t.Error("a pool that names no namespace has a Service that may ask")
	}
	if !(&config.Pool{}).Requestable("any", nil) {
		t.Error("the zero value does not allow all")
	}
	if _, ok := c.Pool("missing"); ok {
		t.Error("there is a pool that the text does not have")
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
			if list, _ := errors.AsType[config.Errors](err); len(list) == 0 || len(list) > config.MaxErrors+1 {
				t.Fatalf("%d errors", len(list))
			}
			return
		}
		if len(c.Warnings) > config.MaxErrors+1 {
			t.Fatalf("%d warnings", len(c.Warnings))
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
