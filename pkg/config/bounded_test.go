package config_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

const (
	maxText      = 1 << 20
	maxAllocated = 100 << 20
)

// pool begins a configuration with one pool. Its keys can follow, indented by two spaces.
const pool = "address-pools:\n- name: a\n  protocol: both\n  addresses: [10.0.0.0/24]\n"

// each joins the texts for the numbers from 0 to n-1.
func each(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if strings.Contains(format, "%") {
			fmt.Fprintf(&b, format, i)
		} else {
			b.WriteString(format)
		}
	}
	return b.String()
}

// each2 is each for a text inside the format of another each.
func each2(n int, format string) string { return strings.ReplaceAll(each(n, format), "%", "%%") }

// hostileTexts are texts that needed gigabytes, minutes, or gave a million errors, in the
// first parser or in a plausible one.
func hostileTexts() map[string]string {
	long := strings.Repeat("x", 500_000)
	return map[string]string{
		"aliases multiply": pool + "  node-selectors: &s\n  - match-expressions: &e\n    - {key: k, operator: In, values: &v [" + each(500, "v,") + "]}\n" +
			each(50, "    - {key: k, operator: In, values: *v}\n") + each(50, "  - match-expressions: *e\n") +
			each(20, "- {name: p%d, protocol: layer2, addresses: [10.1.0.0/24], node-selectors: *s}\n"),
		"errors multiply": "address-pools:\n- node-selectors: &s [" + each(200, "{x},") + "]\n" +
			each(30, "- {node-selectors: *s, service-selectors: *s, namespace-selectors: *s}\n"),
		"pools by alias":       "address-pools: [&p {<<: {}}," + each(45_000, "*p,") + "]",
		"selectors by alias":   pool + "  node-selectors: [&s {}," + each(60_000, "*s,") + "]\n",
		"merges":               "address-pools:\n- <<: [&m {name: a}," + each(60_000, "*m,") + "]\n",
		"long value by alias":  "x: &x " + long + "\n" + pool + "- {name: b, protocol: layer2, addresses: [" + each(30_000, "*x,") + "]}\n",
		"long key by alias":    "x: &x " + long + "\naddress-pools: [" + each(15_000, "{*x : 1},") + "]\n",
		"long number by alias": "x: &x " + strings.Repeat("1", 500_000) + "\naddress-pools: [" + each(15_000, "{priority: *x},") + "]\n",
		"unknown anchor":       "x: *" + long,
		"peers":                "peers:\n" + each(2000, "- {my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1, peer-port: %d}\n"),
		"peers with profiles":  "bfd-profiles: [{name: a}, {name: b}]\npeers:\n" + each(4000, "- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, peer-port: %d, bfd-profile: a}\n") + each(4000, "- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfd-profile: b}\n"),
		"long communities": "bgp-communities:\n" + each(60, "  &c%d "+strings.Repeat("n", 990)+"%[1]d: 1:2\n") + strings.Replace(pool, "layer2", "bgp", 1) +
			"  bgp-advertisements:\n" + each(1100, "  - {localpref: %d, communities: ["+each2(60, "*c%d,")+"]}\n"),
		"long names of peers":   "x: &x " + strings.Repeat("p", 1000) + "\npeers:\n" + each(7500, "- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, peer-port: %d, password-secret: *x}\n"),
		"many keys":             each(60_000, "key%d: 1\n"),
		"one key many times":    each(60_000, "peers: []\n"),
		"many labels":           pool + "  node-selectors:\n  - match-labels:\n" + each(40_000, "      label%d: a\n"),
		"many label values":     pool + "  node-selectors:\n  - match-expressions: [{key: a, operator: In, values: [" + each(60_000, "v%d,") + "]}]\n",
		"many namespaces":       pool + "  namespaces: [" + each(60_000, "n%d,") + "]\n",
		"advertisements":        pool + "  bgp-advertisements:\n" + each(30_000, "  - {localpref: %d}\n"),
		"ranges, routes":        "address-pools:\n- name: a\n  protocol: bgp\n  addresses: [" + each(15_000, "2001:db8::%x:1-2001:db8::%[1]x:9,") + "]\n  bgp-advertisements:\n" + each(15_000, "  - {localpref: %d}\n"),
		"communities":           pool + "  bgp-advertisements:\n  - {communities: [" + each(60_000, "1:2:%d,") + "]}\n",
		"community names":       "bgp-communities: {" + each(25_000, "c%d: 1:2,") + "}\n" + pool + "  bgp-advertisements: [{communities: [" + each(20_000, "c%d,") + "]}]\n",
		"addresses":             "address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n" + each(45_000, "  - 2001:db8::%x/128\n"),
		"overlapping addresses": "address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n" + each(60_000, "  - 10.0.0.0/24\n"),
		"host bits":             "address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n" + each(40_000, "  - 2001:db8::%x:7/112\n"),
		"empty pools":           "address-pools: [" + each(49_000, "{},") + "]",
		"empty selectors":       pool + "  node-selectors: [" + each(49_000, "{},") + "]\n",
		"unclosed list":         pool + "- name: b\n  addresses: [\n" + each(25_000, "  10.1.0.0/24,\n"),
		"late unclosed list":    pool + "- name: b\n  protocol: layer2\n  namespaces:\n" + each(60_000, "  - n%d\n") + "  addresses: [\n",
		"unclosed quote":        pool + "- name: \"" + each(100_000, "a\n"),
		"late syntax error":     pool + "- name: b\n  protocol: layer2\n  namespaces:\n" + each(60_000, "  - n%d\n") + " x: [\n",
		"syntax error in dates": "{" + each(40_000, "2000-x%d,") + ": [}",
		"list elements":         "address-pools: [" + each(maxText/2-20, "a,") + "]",
		"brackets":              strings.Repeat("[", maxText),
		"brackets and colons":   each(800, "- "+strings.Repeat("[", 90)+"a"+strings.Repeat("]:b", 90)+"\n"),
		"blocks in a line":      strings.Repeat("- ", maxText/2),
		"blocks":                indented(190) + each(65_000, "#\n #\n"),
		"tags":                  "%TAG !x! " + strings.Repeat("y", 100_000) + "\n--- [" + each(40_000, "!x!a b,") + "]",
		"documents":             each(35_000, "---\n"),
		"objects":               each(20_000, "---\nkind: A\n"),
		"comments":              each(70_000, "# comment\n") + pool,
		"one long comment":      "# " + strings.Repeat("c ", maxText/2-100) + "\n" + pool,
		"one long value":        "address-pools: " + strings.Repeat("v ", maxText/2-100),
		"spaces":                "address-pools:" + strings.Repeat(" ", maxText-100) + "[]",
		"empty lines":           strings.Repeat("\n", maxText),
		"binary":                strings.Repeat("\x00\xff\xfe\x80", maxText/4),
		"UTF-16":                "\xff\xfe" + strings.Repeat("a\x00,\x00", maxText/4-1),
		"larger than any":       strings.Repeat("# much\n", maxText),
	}
}

// indented returns a list in a list in a list, each one column deeper.
func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "-\n")
	}
	return b.String()
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// measuresMemory is false with the race detector. make unit runs the test without it, too.
var measuresMemory = true

func TestParseOfHostileInputIsBounded(t *testing.T) {
	for name, text := range hostileTexts() {
		t.Run(name, func(t *testing.T) {
			input := []byte(text)
			var err error
			bytes := allocated(func() { _, err = config.Parse(input) })
			t.Logf("%d bytes of text, %d MB allocated", len(text), bytes>>20)
			if measuresMemory && bytes > maxAllocated {
				t.Errorf("%d MB allocated", bytes>>20)
			}
			if err == nil {
				return
			}
			list, _ := errors.AsType[config.Errors](err)
			if len(list) == 0 || len(list) > config.MaxErrors+1 { // one more says how many more there are
				t.Errorf("%d errors", len(list))
			}
			if length := len(err.Error()); length > 200_000 {
				t.Errorf("the errors have %d bytes", length)
			}
		})
	}
}

// The time is not asserted, because a slow machine must not fail the test.
func BenchmarkParseOfHostileInput(b *testing.B) {
	for name, text := range hostileTexts() {
		b.Run(name, func(b *testing.B) {
			input := []byte(text)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = config.Parse(input)
			}
		})
	}
}

func TestParseReadsLargeConfigurations(t *testing.T) {
	var pools strings.Builder
	pools.WriteString("address-pools:\n")
	const many = 12_000
	for i := range many {
		fmt.Fprintf(&pools, "- name: pool-%d\n  protocol: layer2\n  addresses:\n  - 10.%d.%d.0/28\n", i, i>>8, i&255)
	}
	var addresses strings.Builder
	addresses.WriteString("address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n")
	for i := range 50_000 {
		fmt.Fprintf(&addresses, "  - 10.0.%d.%d/32\n", i>>8, i&255)
	}
	for name, test := range map[string]struct {
		text  string
		pools int
	}{"pools": {pools.String(), many}, "addresses": {addresses.String(), 1}} {
		var c *config.Config
		var err error
		bytes := allocated(func() { c, err = config.Parse([]byte(test.text)) })
		if err != nil || len(c.Pools) != test.pools {
			t.Errorf("%s, %d bytes: refused: %v", name, len(test.text), err)
		}
		if bytes > maxAllocated {
			t.Errorf("%s: %d MB allocated", name, bytes>>20)
		}
	}
}

func TestParseCountsTheErrorsThatItDoesNotList(t *testing.T) {
	for n, want := range map[int]string{
		50:   "",
		51:   "and 1 more error",
		60:   "and 10 more errors",
		5000: "and at least 950 more errors: the rest of the text was not read",
	} {
		_, err := config.Parse([]byte(each(n, "key%d: 1\n")))
		list, _ := errors.AsType[config.Errors](err)
		last := list[len(list)-1]
		switch {
		case want == "" && (len(list) != n || last.Line != n):
			t.Errorf("%d mistakes: %d errors, the last is %v", n, len(list), last)
		case want != "" && (len(list) != config.MaxErrors+1 || last.Error() != want):
			t.Errorf("%d mistakes: %d errors, the last is %v, want %s", n, len(list), last, want)
		}
	}
}

func TestParseNamesTheLimit(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("# much\n", maxText):   "the text has 7340032 bytes, and at most 1048576 are read: a ConfigMap cannot hold more",
		pool + strings.Repeat("#\n", 200_000): ": the text up to this line has too many keys, values and list elements: write ranges like 10.0.0.0/24 instead of single addresses",
		"a: " + strings.Repeat("[", 101):      "line 1: more than 100 brackets are open at the same time: the configuration needs less than 10",
		strings.Repeat(" ", 501) + "a: b\n":   "line 1: the line is indented by more than 200 columns",
		"a: b\n%TAG ! x\n":                    "line 2: the YAML directive %TAG is not supported: remove this line",
		"\xff\xfea\x00":                       "line 1: the text is encoded as UTF-16: save it as UTF-8",
		hostileTexts()["aliases multiply"]:    "the aliases (like *name) repeat more than 20000 elements, and the rest was not read: write the elements without aliases",
		hostileTexts()["long value by alias"]: `pool "b": addresses: has 500000 bytes: write at most 1024`,
	} {
		if _, err := config.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func TestParseOfManySelectorsByAlias(t *testing.T) {
	text := pool + "  node-selectors: [&s {}," + each(1000, "*s,") + "]\n"
	if c, err := config.Parse([]byte(text)); err != nil || len(c.Pools[0].NodeSelectors) != 1001 {
		t.Errorf("refused: %v", err)
	}
}
