// Package service reads what this project needs from a Kubernetes Service and
// its EndpointSlices. It is the border: behind it there are netip addresses and
// plain names only.
package service

import (
	"net/netip"
	"slices"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Finalizer holds back the deletion of a Service with a class of ours until its
// addresses are free. One without a class has upstream's finalizer, which any
// cloud controller manager in the cluster would remove.
const Finalizer = "lb.baremetal/cleanup"

// DefaultClass is the spec.loadBalancerClass that is ours unless told otherwise.
const DefaultClass = "lb.baremetal/default"

// Scope is which Services this project serves.
type Scope struct {
	// Default is true if those without a class are ours.
	Default bool
	// Classes are the values of spec.loadBalancerClass that are ours.
	Classes []string
}

// DefaultScope is what both programs serve unless told otherwise.
func DefaultScope() Scope { return Scope{Default: true, Classes: []string{DefaultClass}} }

// AddFlags adds the flags that change the scope. They must be the same for both
// programs.
func (s *Scope) AddFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&s.Classes, "load-balancer-class", s.Classes, "Services with one of these in spec.loadBalancerClass are served. The same for the cloud controller manager and the speakers.")
	flags.BoolVar(&s.Default, "default-load-balancer", s.Default, "Services without spec.loadBalancerClass are served. Set it to false to live beside another provider. The same for the cloud controller manager and the speakers.")
}

// Ours reports whether this project serves svc.
func (s Scope) Ours(svc *v1.Service) bool {
	return s.Classless(svc) || s.Classed(svc)
}

// Classless reports whether svc is ours as one that leaves the choice of the load
// balancer to the cluster.
func (s Scope) Classless(svc *v1.Service) bool {
	return s.Default && svc.Spec.Type == v1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass == nil
}

// Classed reports whether svc is ours by its class.
func (s Scope) Classed(svc *v1.Service) bool {
	return svc.Spec.Type == v1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass != nil && slices.Contains(s.Classes, *svc.Spec.LoadBalancerClass)
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

// Local reports whether only nodes with an endpoint of svc may receive its traffic.
func Local(svc *v1.Service) bool {
	return svc.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
}

// Sticky reports whether all connections of a client to svc shall come to one pod.
func Sticky(svc *v1.Service) bool { return svc.Spec.SessionAffinity == v1.ServiceAffinityClientIP }

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
