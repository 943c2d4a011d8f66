package service

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The annotations by which a Service asks for an address.
const (
	// AddressesAnnotation lists the addresses asked for, separated by commas:
	// at most one IPv4 and one IPv6.
	AddressesAnnotation = "lb.baremetal/addresses"
	// PoolAnnotation names the pool to take the addresses from.
	PoolAnnotation = "lb.baremetal/pool"
	// ShareAnnotation is the key under which a Service shares its addresses with
	// others of the same key.
	ShareAnnotation = "lb.baremetal/share"
)

// aliases are MetalLB's names for the same, the newer one first.
var aliases = map[string][]string{
	AddressesAnnotation: {"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"},
	PoolAnnotation:      {"metallb.io/address-pool", "metallb.universe.tf/address-pool"},
	ShareAnnotation:     {"metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"},
}

// annotation returns the value of the annotation or of its first alias that is
// not empty, and the name under which it stands.
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

// Asked returns the addresses that svc asks for, by annotation or else by
// spec.loadBalancerIP. The error says which of the two cannot be read.
func Asked(svc *v1.Service) ([]netip.Addr, error) {
	text, where := annotation(svc, AddressesAnnotation)
	if where = "annotation " + where; text == "" {
		text, where = svc.Spec.LoadBalancerIP, "spec.loadBalancerIP"
	}
	if text == "" {
		return nil, nil
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || addr.Zone() != "" {
			return nil, fmt.Errorf("%s: %q is not an IP address", where, strings.TrimSpace(part))
		}
		addrs = append(addrs, addr.Unmap())
	}
	return addrs, nil
}

// Backend returns what the choice of the node that takes svc's traffic depends
// on: nothing, if every node will do, or else the pods behind it. Two Services
// can be announced by one node if it is the same.
func Backend(svc *v1.Service) string {
	switch {
	case !Local(svc):
		return ""
	case len(svc.Spec.Selector) == 0: // its endpoints are made by hand
		return "service " + Name(svc)
	}
	return "pods of " + svc.Namespace + " with " + labels.Set(svc.Spec.Selector).String()
}
