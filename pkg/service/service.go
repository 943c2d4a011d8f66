// Package service reads what this project needs from a Kubernetes Service and
// its EndpointSlices. It is the border: behind it there are netip addresses and
// plain names only.
package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The annotations by which a Service asks for an address.
const (
	// AddressesAnnotation lists the addresses asked for, separated by commas:
	// at most one IPv4 and one IPv6.
	AddressesAnnotation = "lb.baremetal/addresses"
	// PoolAnnotation names the pool to take the addresses from.
	PoolAnnotation = "lb.baremetal/pool"
)

// Ours reports whether this project serves svc: it is of type LoadBalancer and
// leaves the choice of the load balancer to the cluster.
func Ours(svc *v1.Service) bool {
	return svc.Spec.Type == v1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass == nil
}

// Name returns namespace/name.
func Name(svc *v1.Service) string { return svc.Namespace + "/" + svc.Name }

// VIPs returns the addresses in svc's status, in their order.
func VIPs(svc *v1.Service) []netip.Addr {
	var vips []netip.Addr
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		if addr, err := netip.ParseAddr(ingress.IP); err == nil && addr.Zone() == "" {
			vips = append(vips, addr.Unmap())
		}
	}
	return vips
}

// Asked returns the addresses that svc asks for, by annotation or else by
// spec.loadBalancerIP. The error says which of the two cannot be read.
func Asked(svc *v1.Service) ([]netip.Addr, error) {
	text, where := svc.Annotations[AddressesAnnotation], "annotation "+AddressesAnnotation
	if text == "" {
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

// Local reports whether only nodes with an endpoint of svc may receive its traffic.
func Local(svc *v1.Service) bool {
	return svc.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
}

// EndpointNodes returns the nodes that have a ready endpoint in any of the
// slices, which belong to one Service, in alphabetical order. When no endpoint
// is ready at all, it returns those with one that still serves while it
// terminates, as kube-proxy does (KEP-1669).
func EndpointNodes(endpointSlices []*discoveryv1.EndpointSlice) []string {
	var ready, terminating []string
	for _, slice := range endpointSlices {
		for _, e := range slice.Endpoints {
			switch {
			case e.NodeName == nil:
			case e.Conditions.Ready == nil || *e.Conditions.Ready:
				ready = append(ready, *e.NodeName)
			case isTrue(e.Conditions.Serving) && isTrue(e.Conditions.Terminating):
				terminating = append(terminating, *e.NodeName)
			}
		}
	}
	nodes := ready
	if len(nodes) == 0 {
		nodes = terminating
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func isTrue(b *bool) bool { return b != nil && *b }
