package service

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// The annotations by which a Service asks for an address, and says how it is announced.
const (
	// AddressesAnnotation lists the addresses asked for, separated by commas:
	// at most one IPv4 and one IPv6.
	AddressesAnnotation = "lb.baremetal/addresses"
	// PoolAnnotation names the pool to take the addresses from.
	PoolAnnotation = "lb.baremetal/pool"
	// ShareAnnotation is the share key. A Service shares its addresses with Services that
	// have the same key.
	ShareAnnotation = "lb.baremetal/share"
	// IPModeAnnotation is the ipMode of the addresses in the status, VIP or Proxy. With Proxy,
	// kube-proxy does not serve the addresses inside the cluster.
	IPModeAnnotation = "lb.baremetal/ip-mode"
	// HostnameAnnotation is a DNS name to write beside the addresses in the status.
	HostnameAnnotation = "lb.baremetal/hostname"
	// NodeAnnotation is the name of the node that announces the addresses by layer 2 while it
	// can.
	NodeAnnotation = "lb.baremetal/node"
	// SpreadAnnotation says whether the nodes share the traffic of the addresses in layer 2,
	// true or false. Without it, the pool says so.
	SpreadAnnotation = "lb.baremetal/spread"
)

// aliases are MetalLB's names of the same annotations, the newer name first.
var aliases = map[string][]string{
	AddressesAnnotation: {"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"},
	PoolAnnotation:      {"metallb.io/address-pool", "metallb.universe.tf/address-pool"},
	ShareAnnotation:     {"metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"},
}

// annotation returns the value of the annotation, or of its first alias that is not
// empty, and the name of the annotation that has the value.
func annotation(svc *v1.Service, name string) (value, from string) {
	for _, from := range append([]string{name}, aliases[name]...) {
		if value := svc.Annotations[from]; value != "" {
			return value, from
		}
	}
	return "", ""
}

// Pool returns the pool that svc asks for, or "".
func Pool(svc *v1.Service) string {
	pool, _ := annotation(svc, PoolAnnotation)
	return pool
}

// ShareKey returns the key under which svc shares its addresses, or "".
func ShareKey(svc *v1.Service) string {
	key, _ := annotation(svc, ShareAnnotation)
	return key
}

// RequestedAddrs returns the addresses that svc asks for, by annotation or else by
// spec.loadBalancerIP. The error names the field that cannot be read.
func RequestedAddrs(svc *v1.Service) ([]netip.Addr, error) {
	text, field := annotation(svc, AddressesAnnotation)
	if field = "annotation " + field; text == "" {
		text, field = svc.Spec.LoadBalancerIP, "spec.loadBalancerIP"
	}
	if text == "" {
		return nil, nil
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || addr.Zone() != "" {
			return nil, fmt.Errorf("%s: %s is not an IP address", field, quote.Short(strings.TrimSpace(part)))
		}
		addrs = append(addrs, addr.Unmap())
	}
	return addrs, nil
}

// IPMode returns the ipMode that svc asks for; the default is VIP.
func IPMode(svc *v1.Service) (v1.LoadBalancerIPMode, error) {
	switch text := svc.Annotations[IPModeAnnotation]; text {
	case "", string(v1.LoadBalancerIPModeVIP):
		return v1.LoadBalancerIPModeVIP, nil
	case string(v1.LoadBalancerIPModeProxy):
		return v1.LoadBalancerIPModeProxy, nil
	default:
		return v1.LoadBalancerIPModeVIP, fmt.Errorf("annotation %s: %s is neither VIP nor Proxy", IPModeAnnotation, quote.Short(text))
	}
}

// Hostname returns the DNS name that svc asks for, or "".
func Hostname(svc *v1.Service) (string, error) {
	name := svc.Annotations[HostnameAnnotation]
	if name == "" {
		return "", nil
	}
	if _, err := netip.ParseAddr(name); err == nil || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "", fmt.Errorf("annotation %s: %s is not a DNS name like lb.example.com", HostnameAnnotation, quote.Short(name))
	}
	return name, nil
}

// PreferredNode returns the node that svc asks for, or "".
func PreferredNode(svc *v1.Service) string { return svc.Annotations[NodeAnnotation] }

// Spread returns whether svc asks that the nodes share the traffic of its addresses, or nil
// if the pool decides.
func Spread(svc *v1.Service) (wish *bool, err error) {
	switch text := svc.Annotations[SpreadAnnotation]; text {
	case "":
		return nil, nil
	case "true", "false":
		yes := text == "true"
		return &yes, nil
	default:
		return nil, fmt.Errorf("annotation %s: %s is neither true nor false", SpreadAnnotation, quote.Short(text))
	}
}

// SpeakerAnnotations returns those of the annotations that speakers read; nil for none.
func SpeakerAnnotations(annotations map[string]string) (read map[string]string) {
	for _, name := range []string{NodeAnnotation, SpreadAnnotation} {
		if text := annotations[name]; text != "" {
			if read == nil {
				read = map[string]string{}
			}
			read[name] = text
		}
	}
	return read
}

// Backend identifies the pods that decide which nodes can receive svc's traffic. It is
// empty if every node can. One node can announce two Services with the same Backend.
func Backend(svc *v1.Service) string {
	switch {
	case !Local(svc):
		return ""
	case len(svc.Spec.Selector) == 0: // the operator creates its endpoints
		return "service " + Name(svc)
	}
	return "pods of " + svc.Namespace + " with " + labels.Set(svc.Spec.Selector).String()
}
