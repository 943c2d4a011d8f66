package cloudprovider

import (
	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// request returns the allocator's request for svc. The error is an *ipam.Error. In this
// case the request has everything that could be read.
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
	addrs, err := service.RequestedAddrs(svc)
	_, modeErr := service.IPMode(svc)
	_, nameErr := service.Hostname(svc)
	_, spreadErr := service.Spread(svc) // the speakers use it; the cluster manager reports the error
	for _, err := range []error{err, modeErr, nameErr, spreadErr} {
		if err != nil {
			return r, &ipam.Error{Reason: ipam.Invalid, Msg: err.Error()}
		}
	}
	r.Addrs = addrs
	return r, nil
}

func sharing(svc *v1.Service) ipam.Sharing {
	key := service.ShareKey(svc)
	if key == "" {
		return ipam.Sharing{}
	}
	s := ipam.Sharing{Key: key, Backend: service.Backend(svc)}
	for _, p := range svc.Spec.Ports {
		s.Ports = append(s.Ports, ipam.Port{Protocol: string(p.Protocol), Number: uint16(p.Port)}) // the API server has validated it
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
