package integration

import (
	"context"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service returns a Service for the web servers. Its changes are applied in order.
func service(name string, changes ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []v1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}},
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func families(policy v1.IPFamilyPolicy, families ...v1.IPFamily) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, families }
}

func annotated(key, value string) func(*v1.Service) {
	return func(s *v1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[key] = value
	}
}

func labelled(key string) func(*v1.Service) {
	return func(s *v1.Service) { s.Labels = map[string]string{key: ""} }
}

func in(namespace string) func(*v1.Service) {
	return func(s *v1.Service) { s.Namespace = namespace }
}

func class(name string) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.LoadBalancerClass = &name }
}

// sharing gives the Service the key with which it shares its address.
func sharing(key string) func(*v1.Service) { return annotated("lb.baremetal/share", key) }

// local gives the Service externalTrafficPolicy Local and the pods of another app.
func local(app string) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Selector = map[string]string{"app": app}
		s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
	}
}

// port gives the Service this port only. It leads to port 80 of the web servers.
func port(protocol v1.Protocol, number int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Ports = []v1.ServicePort{{Protocol: protocol, Port: number, TargetPort: intstr.FromInt32(80)}}
	}
}

// create creates a Service, and removes it at the end of the test.
func (f *fixture) create(s *v1.Service) {
	f.Helper()
	if _, err := f.cluster.Client.CoreV1().Services(s.Namespace).Create(f.Context(), s, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { f.remove(s.Namespace + "/" + s.Name) })
}

// split returns the namespace and the name of a Service, which is given as
// NAMESPACE/NAME or as NAME. NAME alone is in the namespace default.
func split(name string) (namespace, rest string) {
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		return namespace, rest
	}
	return "default", name
}

// remove deletes a Service and waits until it is gone. Only then is its address
// released.
func (f *fixture) remove(name string) {
	f.Helper()
	ctx := context.Background() // f.Context is cancelled when a cleanup calls this
	namespace, name := split(name)
	services := f.cluster.Client.CoreV1().Services(namespace)
	if err := services.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		f.Fatal(err)
	}
	f.eventually(name+" is gone", func() bool {
		_, err := services.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// get returns a Service.
func (f *fixture) get(name string) *v1.Service {
	f.Helper()
	namespace, name := split(name)
	s, err := f.cluster.Client.CoreV1().Services(namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// addressesOf returns the addresses in the Service's status, separated by commas.
func addressesOf(s *v1.Service) string {
	var ips []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		ips = append(ips, i.IP)
	}
	return strings.Join(ips, ",")
}

// assigned waits until a Service has addresses, and returns them separated by commas.
func (f *fixture) assigned(name string) string {
	f.Helper()
	var ips string
	f.eventually(name+" has an address", func() bool {
		ips = addressesOf(f.get(name))
		return ips != ""
	})
	return ips
}

// has waits until the Service has exactly these addresses, separated by commas.
func (f *fixture) has(name, want string) {
	f.Helper()
	var got string
	err := f.cluster.Wait(context.Background(), name+" has "+want, func() bool {
		got = addressesOf(f.get(name))
		return got == want
	})
	if err != nil {
		f.Fatalf("%v; it has %q", err, got)
	}
}

// namespace creates a namespace with labels, and deletes it at the end of the test.
func (f *fixture) namespace(name string, labels map[string]string) {
	f.Helper()
	namespaces := f.cluster.Client.CoreV1().Namespaces()
	_, err := namespaces.Create(f.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	f.must(err)
	f.Cleanup(func() { f.must(namespaces.Delete(context.Background(), name, metav1.DeleteOptions{})) })
}

// runOn starts a pod on a node, and removes it at the end of the test.
func (f *fixture) runOn(name, app, node string) {
	f.Helper()
	f.kubectl("run", name, "--image=web:test", "--labels=app="+app, `--overrides={"spec":{"nodeName":"`+node+`"}}`)
	f.Cleanup(func() { f.kubectl("delete", "pod", name, "--ignore-not-found") })
}

// withoutPolicy removes the admission policy until the end of the test.
func (f *fixture) withoutPolicy() {
	f.Helper()
	f.kubectl("delete", "-f", f.cluster.Root()+"/manifests/policy.yaml", "--ignore-not-found")
	f.Cleanup(func() { f.must(f.cluster.ApplyPolicy(context.Background())) })
}

// setStatus writes the ingress of a Service's status. It acts as the cluster manager,
// because the admission policy refuses all other users. Where there is no such policy, a
// user with the rights for it can do the same.
func (f *fixture) setStatus(name, ingress string) {
	f.Helper()
	client, err := f.cluster.ClientAs("system:serviceaccount:baremetal-system:baremetal-ccm")
	f.must(err)
	_, err = client.CoreV1().Services("default").Patch(f.Context(), name, types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":`+ingress+`}}}`), metav1.PatchOptions{}, "status")
	f.must(err)
}
