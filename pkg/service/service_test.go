package service_test

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func TestScope(t *testing.T) {
	ours, other := service.DefaultClass, "example.com/other"
	byClass := service.Scope{Classes: []string{service.DefaultClass}}
	for _, test := range []struct {
		spec                 v1.ServiceSpec
		byDefault, onlyClass bool
	}{
		{v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer}, true, false},
		{v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, LoadBalancerClass: &ours}, true, true},
		{v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, LoadBalancerClass: &other}, false, false},
		{v1.ServiceSpec{Type: v1.ServiceTypeNodePort, LoadBalancerClass: &ours}, false, false},
		{v1.ServiceSpec{}, false, false},
	} {
		svc := &v1.Service{Spec: test.spec}
		if got := service.DefaultScope().Ours(svc); got != test.byDefault {
			t.Errorf("%+v: %v", test.spec, got)
		}
		if got := byClass.Ours(svc); got != test.onlyClass {
			t.Errorf("%+v, classes only: %v", test.spec, got)
		}
	}
}

func TestAnnotationsOfMetalLBAreAliases(t *testing.T) {
	for _, prefix := range []string{"metallb.io/", "metallb.universe.tf/"} {
		svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			prefix + "loadBalancerIPs": "192.0.2.7", prefix + "address-pool": "gold", prefix + "allow-shared-ip": "dns"}}}
		addrs, err := service.RequestedAddrs(svc)
		if got := fmt.Sprint(addrs, err, service.Pool(svc), service.ShareKey(svc)); got != "[192.0.2.7] <nil>golddns" {
			t.Errorf("%s: got %s", prefix, got)
		}
		for name, own := range map[string]string{service.AddressesAnnotation: "192.0.2.8", service.PoolAnnotation: "iron", service.ShareAnnotation: "web"} {
			svc.Annotations[name] = own
		}
		addrs, err = service.RequestedAddrs(svc)
		if got := fmt.Sprint(addrs, err, service.Pool(svc), service.ShareKey(svc)); got != "[192.0.2.8] <nil>ironweb" {
			t.Errorf("%s beside our own: got %s", prefix, got)
		}
	}
}

func TestBackendDiffersWhenDifferentNodesCanServe(t *testing.T) {
	local := func(namespace string, selector map[string]string) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x"},
			Spec: v1.ServiceSpec{Selector: selector, ExternalTrafficPolicy: v1.ServiceExternalTrafficPolicyLocal}}
	}
	app := map[string]string{"app": "web"}
	a := service.Backend(local("a", app))
	if a != service.Backend(local("a", app)) {
		t.Error("two Services with the same selector have different backends")
	}
	if a == service.Backend(local("b", app)) {
		t.Error("the same selector in another namespace selects other pods")
	}
	without := local("a", nil)
	if service.Backend(without) == "" {
		t.Error("endpoints that the operator creates may be on any node")
	}
	if without.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyCluster; service.Backend(without) != "" {
		t.Error("with Cluster every node can receive the traffic")
	}
}

func TestVIPsAreTheValidAddressesOfTheStatus(t *testing.T) {
	svc := &v1.Service{}
	for _, ip := range []string{"192.0.2.1", "", "::ffff:192.0.2.2", "nonsense", "fe80::1%eth0", "2001:db8::1"} {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{IP: ip})
	}
	if got := fmt.Sprint(service.VIPs(svc)); got != "[192.0.2.1 192.0.2.2 2001:db8::1]" {
		t.Errorf("got %s", got)
	}
}

func TestPortsHaveTheNumbersOfTheirProtocols(t *testing.T) {
	svc := &v1.Service{Spec: v1.ServiceSpec{Ports: []v1.ServicePort{
		{Port: 80, NodePort: 30080}, {Port: 443, Protocol: v1.ProtocolTCP}, {Port: 53, Protocol: v1.ProtocolUDP}, {Port: 65535, Protocol: v1.ProtocolSCTP}, {Port: 1, Protocol: "DCCP"},
	}}}
	if got := fmt.Sprint(service.Ports(svc)); got != "[{6 80} {6 443} {17 53} {132 65535}]" {
		t.Errorf("got %s", got)
	}
}

func TestRequestedAddrs(t *testing.T) {
	for _, test := range []struct{ annotation, spec, want string }{
		{"", "", "[] <nil>"},
		{"", "192.0.2.1", "[192.0.2.1] <nil>"},
		{"192.0.2.7, 2001:db8::7", "192.0.2.1", "[192.0.2.7 2001:db8::7] <nil>"},
		{"192.0.2.7,", "", `[] annotation lb.baremetal/addresses: "" is not an IP address`},
		{"", "web.example.com", `[] spec.loadBalancerIP: "web.example.com" is not an IP address`},
		{"", "fe80::1%eth0", `[] spec.loadBalancerIP: "fe80::1%eth0" is not an IP address`},
	} {
		svc := &v1.Service{Spec: v1.ServiceSpec{LoadBalancerIP: test.spec}}
		if test.annotation != "" {
			svc.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{service.AddressesAnnotation: test.annotation}}
		}
		addrs, err := service.RequestedAddrs(svc)
		if got := fmt.Sprint(addrs, err); got != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

func TestEndpointsOfANodeAreCountedOnceForBothFamilies(t *testing.T) {
	yes, no := true, false
	ready, unready := discoveryv1.EndpointConditions{Ready: &yes}, discoveryv1.EndpointConditions{Ready: &no}
	terminating := discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
	slice := func(family discoveryv1.AddressType, node string, conditions ...discoveryv1.EndpointConditions) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{AddressType: family}
		for _, c := range conditions {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &node, Conditions: c})
		}
		return s
	}
	got := service.EndpointCounts([]*discoveryv1.EndpointSlice{
		slice(discoveryv1.AddressTypeIPv4, "a", ready, ready, terminating), slice(discoveryv1.AddressTypeIPv4, "a", ready),
		slice(discoveryv1.AddressTypeIPv6, "a", ready, ready, ready, unready),
		slice(discoveryv1.AddressTypeIPv4, "b", terminating, terminating), slice(discoveryv1.AddressTypeIPv4, "c", unready),
		{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Conditions: ready}}},
	})
	if text := fmt.Sprint(got); text != "map[a:3 b:2]" {
		t.Errorf("got %s", text)
	}
}

func TestEndpointNodes(t *testing.T) {
	yes, no := true, false
	endpoint := func(node string, ready, serving, terminating *bool) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving, Terminating: terminating}}
		if node != "" {
			e.NodeName = &node
		}
		return e
	}
	for name, test := range map[string]struct {
		endpoints []discoveryv1.Endpoint
		want      string // the ready ones and the terminating ones
	}{
		"none":                                   {nil, "[] []"},
		"ready ones, each node once":             {[]discoveryv1.Endpoint{endpoint("b", &yes, nil, nil), endpoint("a", nil, nil, nil), endpoint("b", &yes, nil, nil)}, "[a b] []"},
		"no unready endpoint":                    {[]discoveryv1.Endpoint{endpoint("a", &no, &no, &no)}, "[] []"},
		"a ready and a terminating endpoint":     {[]discoveryv1.Endpoint{endpoint("a", &no, &yes, &yes), endpoint("b", &yes, &yes, &no)}, "[b] [a]"},
		"terminating endpoints that still serve": {[]discoveryv1.Endpoint{endpoint("a", &no, &yes, &yes), endpoint("b", &no, &no, &yes)}, "[] [a]"},
		"no endpoint without a node":             {[]discoveryv1.Endpoint{endpoint("", &yes, nil, nil)}, "[] []"},
	} {
		// The endpoints of one Service may be in any number of slices.
		var endpointSlices []*discoveryv1.EndpointSlice
		for _, e := range test.endpoints {
			endpointSlices = append(endpointSlices, &discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{e}})
		}
		ready, terminating := service.EndpointNodes(endpointSlices)
		if got := fmt.Sprint(ready, terminating); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
		// kube-proxy needs no node for an endpoint.
		if got := service.HasEndpoint(endpointSlices); got != (test.want != "[] []" || name == "no endpoint without a node") {
			t.Errorf("%s: there is an endpoint: %v", name, got)
		}
	}
}

func TestSpreadIsTrueFalseOrAsThePoolSays(t *testing.T) {
	for text, want := range map[string]string{
		"": "pool <nil>", "true": "true <nil>", "false": "false <nil>",
		"True": `pool annotation lb.baremetal/spread: "True" is neither true nor false`,
		"1":    `pool annotation lb.baremetal/spread: "1" is neither true nor false`,
	} {
		svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{service.SpreadAnnotation: text}}}
		wish, err := service.Spread(svc)
		got := "pool"
		if wish != nil {
			got = fmt.Sprint(*wish)
		}
		if got = fmt.Sprint(got, " ", err); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if wish, err := service.Spread(&v1.Service{}); wish != nil || err != nil {
		t.Errorf("without annotations: %v, %v", wish, err)
	}
}

func TestSpeakersKeepTheAnnotationsThatTheyRead(t *testing.T) {
	all := map[string]string{service.NodeAnnotation: "node3", service.SpreadAnnotation: "true", service.PoolAnnotation: "gold", "example.com/notes": "long"}
	if got := fmt.Sprint(service.SpeakerAnnotations(all)); got != "map[lb.baremetal/node:node3 lb.baremetal/spread:true]" {
		t.Errorf("got %s", got)
	}
	if got := service.SpeakerAnnotations(map[string]string{service.PoolAnnotation: "gold", service.SpreadAnnotation: ""}); got != nil {
		t.Errorf("got %v, want nil, which needs no memory", got)
	}
}
