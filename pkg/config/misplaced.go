package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// misplaced recognizes documents that are not the configuration: objects of Kubernetes,
// custom resources of MetalLB, the values of a Helm chart. Without it, each of their keys
// would be an unknown key.
func misplaced(documents []*yaml.Node) Errors {
	var found collector
	for _, d := range documents {
		if e := misplacedDocument(d.Content[0]); e != nil {
			found.add(e)
		}
	}
	return found.list("error", true)
}

func misplacedDocument(root *yaml.Node) *Error {
	versionKey, version := lookUp(root, "apiVersion")
	kindKey, kind := lookUp(root, "kind")
	metadataKey, metadata := lookUp(root, "metadata")
	switch {
	case version != nil && strings.HasPrefix(version.Value, "metallb.io/") && kind != nil:
		return errorOf(versionKey, metallb(shorten(kind.Value, maxTypo)))
	case kind != nil && kind.Value == "ConfigMap":
		return errorOf(kindKey, "this is a whole ConfigMap, and only the configuration is expected here: write the text that is under data and config, without its indentation")
	case kind != nil && kind.Kind == yaml.ScalarNode:
		return errorOf(kindKey, fmt.Sprintf("this is a Kubernetes object of kind %s, and the configuration is expected here: write address-pools and the other keys of a configuration", quote.Short(kind.Value)))
	case version != nil || metadata != nil && metadata.Kind == yaml.MappingNode:
		if version == nil {
			versionKey = metadataKey
		}
		return errorOf(versionKey, "this is a part of a Kubernetes object, and only the configuration is expected here: write the text that is under data and config, without its indentation")
	}
	return wrapped(root)
}

// wrapped recognizes the values of a Helm chart, and a part of a ConfigMap.
func wrapped(root *yaml.Node) *Error {
	for _, name := range []string{"configInline", "config", "data"} {
		at, value := lookUp(root, name)
		if value == nil || name != "configInline" && !holdsConfig(value) {
			continue
		}
		if name == "data" {
			return errorOf(at, "this is a part of a ConfigMap, and only the configuration is expected here: write the text that is under data and config, without its indentation")
		}
		return errorOf(at, fmt.Sprintf("the configuration is under the key %s, as in the values of a Helm chart: write only what is under that key, without its indentation", name))
	}
	return nil
}

// holdsConfig reports whether a value looks like a configuration, or has one under the key
// config.
func holdsConfig(value *yaml.Node) bool {
	if value.Kind == yaml.ScalarNode {
		return strings.Contains(value.Value, "address-pools:")
	}
	for _, k := range topSection.keys {
		if _, v := lookUp(value, k.name); v != nil {
			return true
		}
	}
	_, inner := lookUp(value, "config")
	return inner != nil && inner.Kind == yaml.ScalarNode
}

// lookUp returns a key of a mapping and its value, or nil.
func lookUp(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := deref(n.Content[i]); key.Value == name {
			return key, deref(n.Content[i+1])
		}
	}
	return nil, nil
}

func errorOf(at *yaml.Node, msg string) *Error {
	return &Error{Line: at.Line, Column: at.Column, Msg: msg}
}

// metallbKinds says for each kind of MetalLB's custom resources which keys correspond.
var metallbKinds = map[string]string{
	"IPAddressPool": "write an element of address-pools: metadata.name is name, spec.addresses is addresses, spec.autoAssign is auto-assign, " +
		"spec.avoidBuggyIPs is avoid-buggy-ips; in spec.serviceAllocation, priority is priority, namespaces is namespaces, " +
		"namespaceSelectors is namespace-selectors and serviceSelectors is service-selectors; " +
		"protocol is layer2 if only an L2Advertisement is for the pool, bgp if only a BGPAdvertisement is, both if both are; an advertisement without ipAddressPools is for all pools",
	"AddressPool": "write an element of address-pools: metadata.name is name, spec.protocol is protocol, spec.addresses is addresses, " +
		"spec.autoAssign is auto-assign, spec.bgpAdvertisements is bgp-advertisements",
	"L2Advertisement": "write protocol: layer2 in the pools that spec.ipAddressPools names; " +
		"spec.nodeSelectors is node-selectors of these pools, spec.interfaces is interfaces",
	"BGPAdvertisement": "write protocol: bgp in the pools that spec.ipAddressPools names, and an element of their bgp-advertisements: " +
		"spec.aggregationLength is aggregation-length, spec.aggregationLengthV6 is aggregation-length-v6, spec.localPref is localpref, " +
		"spec.communities is communities, spec.peers is peers; spec.nodeSelectors is node-selectors of these pools",
	"BGPPeer": "write an element of peers: metadata.name is name, spec.myASN is my-asn, spec.peerASN is peer-asn, spec.peerAddress is peer-address, " +
		"spec.peerPort is peer-port, spec.sourceAddress is source-address, spec.holdTime is hold-time, spec.keepaliveTime is keepalive-time, " +
		"spec.routerID is router-id, spec.password is password, spec.passwordSecret.name is password-secret, spec.bfdProfile is bfd-profile, " +
		"spec.ebgpMultiHop is ebgp-multihop, spec.nodeSelectors is node-selectors",
	"BFDProfile": "write an element of bfd-profiles: metadata.name is name, spec.receiveInterval is receive-interval, " +
		"spec.transmitInterval is transmit-interval, spec.detectMultiplier is detect-multiplier, spec.minimumTtl is minimum-ttl, " +
		"spec.passiveMode is passive-mode",
	"Community": "write its spec.communities under bgp-communities, each as name: value",
}

func metallb(kind string) string {
	if metallbKinds[kind] == "" {
		kind = quote.Short(kind)
	}
	start := fmt.Sprintf("this is MetalLB's custom resource %s, and this project reads the configuration of MetalLB v0.12, which is one text (kubectl baremetal convert --from=metallb makes it from your objects): ", kind)
	if text, ok := metallbKinds[kind]; ok {
		return start + text
	}
	return start + "write address-pools and the other keys of a configuration"
}
