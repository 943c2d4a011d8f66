package cloudprovider

import (
	"net/netip"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// request translates what svc asks for. On error, which is an *ipam.Error, it
// holds all that could be read.
func request(svc *v1.Service, namespaceLabels map[string]string) (ipam.Request, error) {
	r := ipam.Request{
		UID:             string(svc.UID),
		Namespace:       svc.Namespace,
		Name:            svc.Name,
		NamespaceLabels: namespaceLabels,
		Labels:          svc.Labels,
		Families:        families(svc),
		RequireAll:      svc.Spec.IPFamilyPolicy != nil && *svc.Spec.IPFamilyPolicy == v1.IPFamilyPolicyRequireDualStack,
		Pool:            service.Pool(svc),
		Claimed:         service.VIPs(svc),
		Sharing:         sharing(svc),
	}
	var err error
	if r.Addrs, err = service.Asked(svc); err != nil {
		return r, &ipam.Error{Reason: ipam.Invalid, Msg: err.Error()}
	}
	return r, nil
}

func sharing(svc *v1.Service) ipam.Sharing {
	key := service.ShareKey(svc)
	if key == "" {
		return ipam.Sharing{}
	}
	s := ipam.Sharing{Key: key, Backend: service.Backend(svc)}
	for _, p := range svc.Spec.Ports {
		s.Ports = append(s.Ports, ipam.Port{Protocol: string(p.Protocol), Number: uint16(p.Port)}) // validated by the API server
	}
	return s
}

func families(svc *v1.Service) []ipam.Family {
	var families []ipam.Family
	for _, f := range svc.Spec.IPFamilies {
		if f == v1.IPv6Protocol {
			families = append(families, ipam.IPv6)
		} else {
			families = append(families, ipam.IPv4)
		}
	}
	return families
}

// status always sets ipMode: the API server would default it to VIP, and
// upstream, which compares before that, would patch the status for ever.
func status(addrs []netip.Addr) *v1.LoadBalancerStatus {
	mode := v1.LoadBalancerIPModeVIP
	s := &v1.LoadBalancerStatus{}
	for _, addr := range addrs {
		s.Ingress = append(s.Ingress, v1.LoadBalancerIngress{IP: addr.String(), IPMode: &mode})
	}
	return s
}
