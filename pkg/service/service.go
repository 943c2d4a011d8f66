// Package service reads what this project needs from a Kubernetes Service and its
// EndpointSlices. It turns the texts in these objects into netip addresses and names.
package service

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Finalizer delays the deletion of a Service with one of our classes until its addresses
// are released. A Service without a class has upstream's finalizer instead. A Service with
// a class cannot use that one, because any cloud controller manager in the cluster would
// remove it.
const Finalizer = "lb.baremetal/cleanup"

// DefaultClass is the spec.loadBalancerClass that is ours by default.
const DefaultClass = "lb.baremetal/default"

// Scope selects the Services that this project serves.
type Scope struct {
	// Default is true if Services without a class are ours.
	Default bool
	// Classes are the values of spec.loadBalancerClass that are ours.
	Classes []string
}

// DefaultScope returns the Services that both programs serve by default.
func DefaultScope() Scope { return Scope{Default: true, Classes: []string{DefaultClass}} }

// AddFlags adds the flags that change the scope. Both programs must have the same
// values.
func (s *Scope) AddFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&s.Classes, "load-balancer-class", s.Classes, "The values of spec.loadBalancerClass whose Services are served. Must be the same for the cloud controller manager and the speakers.")
	flags.BoolVar(&s.Default, "default-load-balancer", s.Default, "Whether Services without spec.loadBalancerClass are served. Set it to false if another provider serves them. Must be the same for the cloud controller manager and the speakers.")
}

// Ours reports whether this project serves svc.
func (s Scope) Ours(svc *v1.Service) bool {
	return s.Classless(svc) || s.Classed(svc)
}

// Classless reports whether svc is ours because Services without a class are ours.
func (s Scope) Classless(svc *v1.Service) bool {
	return s.Default && svc.Spec.Type == v1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass == nil
}

// Classed reports whether svc is ours because of its class.
func (s Scope) Classed(svc *v1.Service) bool {
	return svc.Spec.Type == v1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass != nil && slices.Contains(s.Classes, *svc.Spec.LoadBalancerClass)
}

// Name returns namespace/name of svc.
func Name(svc *v1.Service) string { return svc.Namespace + "/" + svc.Name }

// VIPs returns the addresses in svc's status, in the order of the status. It ignores
// entries that are not an IP address without a zone.
func VIPs(svc *v1.Service) []netip.Addr {
	var vips []netip.Addr
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		if addr, err := netip.ParseAddr(ingress.IP); err == nil && addr.Zone() == "" {
			vips = append(vips, addr.Unmap())
		}
	}
	return vips
}

// Port is a port of a Service.
type Port struct {
	// Protocol is the number of the IP protocol.
	Protocol uint8
	Number   uint16
}

// protocols are the numbers of the IP protocols that a Service can have.
var protocols = map[v1.Protocol]uint8{v1.ProtocolTCP: 6, v1.ProtocolUDP: 17, v1.ProtocolSCTP: 132}

// Ports returns the ports of svc, in its order.
func Ports(svc *v1.Service) []Port {
	ports := make([]Port, 0, len(svc.Spec.Ports))
	for _, p := range svc.Spec.Ports {
		if number, ok := protocols[cmp.Or(p.Protocol, v1.ProtocolTCP)]; ok {
			ports = append(ports, Port{number, uint16(p.Port)})
		}
	}
	return ports
}

// Local reports whether only nodes with an endpoint of svc may receive its traffic.
func Local(svc *v1.Service) bool {
	return svc.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
}

// Sticky reports whether all connections of a client to svc should reach the same pod.
func Sticky(svc *v1.Service) bool { return svc.Spec.SessionAffinity == v1.ServiceAffinityClientIP }

// EndpointNodes returns the nodes that have a ready endpoint in any of the slices, and those
// with an endpoint that still serves while it terminates, both in alphabetical order. The
// slices belong to one Service. kube-proxy uses the second kind if it has none of the first
// (KEP-1669).
func EndpointNodes(endpointSlices []*discoveryv1.EndpointSlice) (ready, terminating []string) {
	for _, slice := range endpointSlices {
		for _, e := range slice.Endpoints {
			switch {
			case e.NodeName == nil:
			case isReady(e):
				ready = append(ready, *e.NodeName)
			case servesLast(e):
				terminating = append(terminating, *e.NodeName)
			}
		}
	}
	slices.Sort(ready)
	slices.Sort(terminating)
	return slices.Compact(ready), slices.Compact(terminating)
}

// EndpointCounts returns how many endpoints each node has in the slices of one Service: those
// that are ready, or if a node has none of them, those that still serve while they terminate.
// A pod with addresses of both families has an endpoint for each, so the families are counted
// separately, and the larger number of a node counts.
func EndpointCounts(endpointSlices []*discoveryv1.EndpointSlice) map[string]int {
	counts := countByNode(endpointSlices, servesLast)
	maps.Copy(counts, countByNode(endpointSlices, isReady))
	return counts
}

func countByNode(endpointSlices []*discoveryv1.EndpointSlice, isCounted func(discoveryv1.Endpoint) bool) map[string]int {
	type key struct {
		family discoveryv1.AddressType
		node   string
	}
	counts, byFamily := map[string]int{}, map[key]int{}
	for _, slice := range endpointSlices {
		for _, e := range slice.Endpoints {
			if e.NodeName == nil || !isCounted(e) {
				continue
			}
			k := key{slice.AddressType, *e.NodeName}
			byFamily[k]++
			counts[k.node] = max(counts[k.node], byFamily[k])
		}
	}
	return counts
}

// HasEndpoint reports whether kube-proxy sends connections to any endpoint in the slices of
// a Service, also to one without a node: an endpoint is ready, or still serves while it
// terminates.
func HasEndpoint(endpointSlices []*discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(endpointSlices, func(slice *discoveryv1.EndpointSlice) bool {
		return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return isReady(e) || servesLast(e) })
	})
}

func isReady(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }

// servesLast reports whether the endpoint still serves while it terminates.
func servesLast(e discoveryv1.Endpoint) bool {
	return isTrue(e.Conditions.Serving) && isTrue(e.Conditions.Terminating)
}

func isTrue(b *bool) bool { return b != nil && *b }
