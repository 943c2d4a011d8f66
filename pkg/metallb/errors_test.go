package metallb_test

import (
	"strings"
	"testing"
)

// Each error names the file, the line, the document and the field.
func TestConvertNamesThePlaceOfAnError(t *testing.T) {
	const (
		pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec:\n"
		peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: p}\nspec:\n"
		adv  = "---\napiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: r}\nspec:\n"
	)
	for text, want := range map[string]string{
		"":                         "the input has no configuration of MetalLB: it has neither custom resources of metallb.io nor a ConfigMap with address-pools",
		"kind: Service\n":          "the input has no configuration of MetalLB: it has neither custom resources of metallb.io nor a ConfigMap with address-pools",
		"a: [":                     "f:1: document 1: ",
		"- x":                      "f:1: document 1: a Kubernetes object is expected, with apiVersion, kind and metadata",
		"metadata: {name: a}":      "f:1: document 1: the document has no kind",
		"kind: XList\nitems: [1]":  "f:1: document 1: item 1 of XList is not a Kubernetes object",
		pool + "  addresses: 7\n":  "f:5: document 1: IPAddressPool a: spec.addresses: must be a list, and is \"7\"",
		pool + "  addresses: []\n": "f:1: document 1: IPAddressPool a: addresses: the pool has no addresses",
		pool + "  addresses:\n  - 192.0.2.0/24\n  - 192.0.2.9-x\n":                                                                   "f:7: document 1: IPAddressPool a: spec.addresses: ",
		pool + "  autoAssign: 3\n":                                                                                                   "f:5: document 1: IPAddressPool a: spec.autoAssign: must be true or false, and is \"3\"",
		pool + "  autoAssign: true\n  autoAssign: true\n":                                                                            "f:5: document 1: IPAddressPool a: spec.autoAssign: is written twice",
		pool + "  serviceAllocation: [a]\n":                                                                                          "f:5: document 1: IPAddressPool a: spec.serviceAllocation: must be a mapping, and is a list",
		pool + "  addresses: [192.0.2.0/24]\n---\n" + pool + "  addresses: [198.51.100.0/24]\n":                                      "f:9: document 2: IPAddressPool a: metadata.name: duplicate definition",
		strings.Replace(pool, "v1beta1", "v9", 1):                                                                                    "f:1: document 1: IPAddressPool a: apiVersion: metallb.io/v9 is not known",
		strings.Replace(pool, "name: a", "", 1):                                                                                      "f:3: document 1: IPAddressPool: metadata.name: is missing",
		peer + "  peerAddress: 192.0.2.1\n  peerASN: 1\n":                                                                            "document 1: BGPPeer p: spec.myASN: ",
		peer + "  myASN: 1\n  peerASN: 1\n":                                                                                          "document 1: BGPPeer p: peer-address: missing",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: router}\n":                                                                     "f:5: document 1: BGPPeer p: spec.peerAddress: ",
		peer + "  {myASN: one, peerASN: 2, peerAddress: 192.0.2.1}\n":                                                                "f:5: document 1: BGPPeer p: spec.myASN: must be a whole number, and is \"one\"",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 9}\n":                                                     "f:5: document 1: BGPPeer p: spec.holdTime: \"9\" is not a duration like 90s",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: b}\n":                                                   "f:5: document 1: BGPPeer p: spec.bfdProfile: there is no \"b\" under bfd-profiles; if another file has it, give that file, too",
		peer + "  {myASN: 1, peerASN: 2, dynamicASN: internal, peerAddress: 192.0.2.1}\n":                                            "f:5: document 1: BGPPeer p: spec.peerASN: and dynamicASN exclude each other",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, nodeSelectors: [{matchLabels: {a b: c}}]}\n":                        "f:5: document 1: BGPPeer p: spec.nodeSelectors: ",
		peer + "  {nodeSelectors: [{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}]}\n":                                  "f:5: document 1: BGPPeer p: spec.nodeSelectors: the operator of an expression is \"Gt\"",
		pool + "  addresses: [192.0.2.0/24]\n" + adv + "  communities: [nobody-knows]\n":                                             "f:11: document 2: BGPAdvertisement r: spec.communities: \"nobody-knows\" is neither",
		pool + "  addresses: [192.0.2.0/24]\n" + adv + "  aggregationLength: 20\n":                                                   "f:11: document 2: BGPAdvertisement r: spec.aggregationLength: /20 is wider than the range",
		"address-pools: [{name: a, protocol: layer2, addresses: [x]}]":                                                               "f:1: document 1: configuration of MetalLB 0.12: data.config: addresses: ",
		"address-pools: []\n---\nkind: Service\n":                                                                                    "f:1: document 1: this document is a configuration of MetalLB 0.12",
		"kind: ConfigMap\nmetadata: {name: c}\ndata:\n  config: |\n    address-pools: []\n    peers: [{my-asn: 1, hold-time: 0s}]\n": "f:6: document 1: ConfigMap c: data.config: ",
		"kind: ConfigMap\ndata: {config: 'address-pools: []'}\n---\nkind: ConfigMap\ndata: {config: 'address-pools: []'}\n":          "document 2: ConfigMap: is the second configuration",
	} {
		r, err := convert("f", text)
		if err == nil {
			t.Errorf("%q was converted to\n%s", text, r.Text)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant\n%s", text, err, want)
		}
	}
}

func TestConvertReportsAllErrorsAtOnce(t *testing.T) {
	_, err := convert("f", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: 1, autoAssign: 2}\n---\n- x\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
}
