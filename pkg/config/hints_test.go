package config_test

import (
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Mistakes that people make often. The error must say what to write.
func TestParseNamesTheUsualMistakes(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"single IPv4 address": {"address-pools: [{name: a, protocol: layer2, addresses: [192.168.120.200]}]",
			`line 1: pool "a": addresses: "192.168.120.200" is a single address: write 192.168.120.200/32`},
		"single IPv6 address": {`address-pools: [{name: a, protocol: layer2, addresses: ["2001:db8::7"]}]`,
			`line 1: pool "a": addresses: "2001:db8::7" is a single address: write 2001:db8::7/128`},
		"typing error":   {"address-pools: [{name: a, protocol: layer2, adresses: [10.0.0.0/24]}]", `adresses: unknown key: did you mean "addresses"? The keys of a pool are name, `},
		"camel case":     {"addressPools: []", `line 1: addressPools: unknown key: did you mean "address-pools"? The keys`},
		"underscore":     {"address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24], auto_assign: true}]", `auto_assign: unknown key: did you mean "auto-assign"? The keys`},
		"far from right": {"colours: []", "line 1: colours: unknown key; the keys of the configuration are bgp-communities, "},
		"community":      {"address-pools: [{name: a, protocol: bgp, addresses: [10.0.0.0/24], bgp-advertisements: [{communities: [no_export]}]}]", `"no_export" is neither under bgp-communities nor a community like 64512:100 or 64512:1:2: did you mean no-export?`},
		"tab":            {"address-pools:\n- name: a\n\tprotocol: layer2\n", "line 3: not valid YAML: the line is indented with a tab, and YAML allows only spaces there: replace the tab with spaces"},
		"no-break space": {"address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.0/24\u00a0]\n",
			"; column 26 has a no-break space (U+00A0): replace it with a space"},
		"no-break space for indentation": {"address-pools:\n- name: a\n\u00a0 protocol: layer2\n", "peers, address-pools, reassign; column 1 has a no-break space (U+00A0): replace it with a space"},
		"zero-width space":               {"address-pools:\n- name: a\n  protocol: layer2\u200b\n  addresses: [10.0.0.0/24]\n", "; column 19 has an invisible character (U+200B): remove it"},
		"byte order mark in the middle":  {"peers: []\naddress-pools:\ufeff []\n", "line 2: not valid YAML: could not find expected ':'; column 15 has an invisible character (U+FEFF): remove it"},
		"no space after a colon": {"address-pools:\n- name: a\n  protocol:layer2\n  addresses: [10.0.0.0/24]\n",
			`line 3: not valid YAML: there is no space after the colon: write "protocol: layer2"`},
		"no space after the last colon": {"address-pools:\n- addresses: [10.0.0.0/24]\n  name: a\n  protocol:layer2\n",
			`line 4: not valid YAML: there is no space after the colon: write "protocol: layer2"`},
		"no space after a colon, and indented more": {"address-pools:\n- addresses: [10.0.0.0/24]\n  name: a\n   protocol:layer2\n",
			`name: YAML reads the value "a protocol:layer2", because there is no space after a colon: write "protocol: layer2"`},
		"no space after a colon in a list":    {"address-pools:\n- name:a\n", `line 2: pool "#1": a pool must be a mapping of keys to values: there is no space after the colon in "name:a": write "name: a"`},
		"no space after a colon in a mapping": {"address-pools: [{name: a, protocol:layer2}]", `protocol:layer2: unknown key: there is no space after the colon: write "protocol: layer2"`},
		"no space after the first colon":      {"address-pools:[]", `line 1: the configuration must be a mapping of keys to values: there is no space after the colon in "address-pools:[]": write "address-pools: []"`},
		"MetalLB pool":                        {"apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: [10.0.0.0/24]}\n", "line 1: this is MetalLB's custom resource IPAddressPool, and this project reads the configuration of MetalLB v0.12, which is one text (kubectl baremetal convert --from=metallb makes it from your objects): write an element of address-pools: "},
		"MetalLB peer":                        {"kind: BGPPeer\napiVersion: metallb.io/v1beta2\n", "line 2: this is MetalLB's custom resource BGPPeer, "},
		"MetalLB resources": {"apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n---\napiVersion: metallb.io/v1beta1\nkind: BFDProfile\n",
			"write protocol: layer2 in the pools that spec.ipAddressPools names; spec.nodeSelectors is node-selectors of these pools, spec.interfaces is interfaces\nline 4: this is MetalLB's custom resource BFDProfile, "},
		"MetalLB kind of the future": {"apiVersion: metallb.io/v2\nkind: Novelty\n", "MetalLB's custom resource \"Novelty\", and this project reads the configuration of MetalLB v0.12, which is one text (kubectl baremetal convert --from=metallb makes it from your objects): write address-pools"},
		"whole ConfigMap":            {"apiVersion: v1\nkind: ConfigMap\ndata: {config: x}\n", "line 2: this is a whole ConfigMap, and only the configuration is expected here: "},
		"kubectl get -o yaml":        {"apiVersion: v1\ndata:\n  config: x\nkind: ConfigMap\nmetadata:\n  name: config\n", "line 4: this is a whole ConfigMap, "},
		"other object":               {"apiVersion: apps/v1\nkind: Deployment\n", `line 2: this is a Kubernetes object of kind "Deployment", `},
		"part of an object":          {"metadata: {name: a}\naddress-pools: []\n", "line 1: this is a part of a Kubernetes object, "},
		"values of MetalLB's chart":  {"configInline:\n  address-pools: []\nspeaker: {enabled: true}\n", "line 1: the configuration is under the key configInline, as in the values of a Helm chart: write only what is under that key, without its indentation"},
		"values of a chart":          {"image: x\nconfig:\n  peers: []\n", "line 2: the configuration is under the key config, "},
		"text in the values":         {"config: |\n  address-pools: []\n", "line 1: the configuration is under the key config, "},
		"part of a ConfigMap":        {"data:\n  config: |\n    address-pools: []\n", "line 1: this is a part of a ConfigMap, and only the configuration is expected here"},
		"template of Helm":           {"address-pools:\n- name: a\n  protocol: layer2\n  addresses: {{ .Values.range }}\n", "; the line has the template {{ .Values.range }}, which was not replaced with its value: render the file first"},
		"variable":                   {"address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n  - ${RANGE}\n", `line 5: pool "a": addresses: "${RANGE}" is neither a CIDR like 192.0.2.0/24 nor a range like 192.0.2.10-192.0.2.20; the line has the template ${RANGE}, which was not replaced with its value: render the file first`},
		"merge conflict":             {"address-pools:\n<<<<<<< HEAD\n- name: a\n=======\n- name: b\n>>>>>>> theirs\n", `line 2: not valid YAML: "<<<<<<<" marks a merge conflict: choose one of the two sides, and remove the markers`},
		"end of a merge conflict":    {"address-pools: []\n>>>>>>> theirs\n", `line 2: not valid YAML: ">>>>>>>" marks a merge conflict`},
		"middle of a merge conflict": {"address-pools: []\n=======\n", `line 2: not valid YAML: "=======" marks a merge conflict`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got:\n%v\nwant:\n%s", err, test.want)
			}
		})
	}
}

// What looks like a mistake, but is none.
func TestParseAcceptsWhatLooksLikeAMistake(t *testing.T) {
	for name, text := range map[string]string{
		"colon in a name":              "address-pools: [{name: a name:b, protocol: layer2, addresses: [10.0.0.0/24]}]",
		"no-break space in a comment":  "address-pools: [] #\u00a0none\n",
		"byte order mark at the start": "\ufeffaddress-pools: []\n",
		"template in a comment":        "# {{ none }} ${NONE}\naddress-pools: []\n",
		"marker in a comment":          "#\n# =======\naddress-pools: []\n",
		"line breaks of Windows":       "address-pools:\r\n- name: a\r\n  protocol: layer2\r\n  addresses: [10.0.0.0/24]\r\n",
	} {
		if _, err := config.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSyntaxErrorsNameTheLine(t *testing.T) {
	const before = "# A comment with [ and \"\naddress-pools:\n- name: 'it''s ['\n  protocol: layer2\n  addresses: [\n    10.0.0.0/24,\n    10.0.1.0/24]\n"
	for name, test := range map[string]struct {
		text string
		line string
	}{
		"bracket":                       {before + "- name: b\n  addresses: [10.0.2.0/24\n- name: c\n  protocol: layer2\n", "line 9: "},
		"nested brackets":               {before + "- {name: b,\n  addresses: [10.0.2.0/24},\n  protocol: layer2}\n- name: c\n", "line 8: "},
		"quote":                         {before + "- name: \"b\n  protocol: layer2\n- name: c\n", "line 8: "},
		"indentation":                   {before + " protocol: layer2\n- name: c\n", "line 8: "},
		"no colon":                      {before + "- name: b\n  protocol layer2\n  addresses: []\n", "line 9: "},
		"bracket with no beginning":     {before + "- name: b\n  addresses: 10.0.2.0/24]\n  interfaces: ]\n", "line 10: "},
		"carriage returns only":         {strings.ReplaceAll(before+" protocol: layer2\n", "\n", "\r"), "line 8: "},
		"unknown anchor":                {before + "- *b\n", "line 8: "},
		"text that is not UTF-8":        {before + "- name: \xff\n", "line 8: "},
		"bracket after half of the way": {before + strings.Repeat("- name: x\n  addresses: [\n  10.0.0.0/24]\n", 300) + "- name: [\n" + strings.Repeat("- name: x\n", 300), "line 908: "},
	} {
		if _, err := config.Parse([]byte(test.text)); err == nil || !strings.HasPrefix(err.Error(), test.line+"not valid YAML: ") {
			t.Errorf("%s: got %v, want %s", name, err, test.line)
		}
	}
}
