// Package integration tests the whole product on a real Kubernetes in network
// namespaces. The tests share one cluster and run one after the other; each
// leaves it as it has found it.
package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

var the *cluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(cluster.Main(cluster.Needs{}, func(env cluster.Env) int {
		ctx := context.Background()
		c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer c.Close()
		if err := c.Deploy(ctx, 2); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, err := c.Kubectl(ctx, "create", "deployment", "web", "--image=web", "--replicas=2"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		the = c
		code := m.Run()
		if err := c.Crashed(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

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

func in(namespace string) func(*v1.Service) {
	return func(s *v1.Service) { s.Namespace = namespace }
}

// port makes it the Service's only port, before port 80 of the web servers.
func port(protocol v1.Protocol, number int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Ports = []v1.ServicePort{{Protocol: protocol, Port: number, TargetPort: intstr.FromInt32(80)}}
	}
}

// namespace creates a namespace with labels, and deletes it at the end of the test.
func namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	namespaces := the.Client.CoreV1().Namespaces()
	_, err := namespaces.Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, namespaces.Delete(context.Background(), name, metav1.DeleteOptions{})) })
}

// has waits until the Service's addresses are these, separated by commas.
func has(t *testing.T, name, want string) {
	t.Helper()
	var got string
	err := the.Wait(context.Background(), name+" has "+want, func() bool {
		got = addressesOf(get(t, name))
		return got == want
	})
	if err != nil {
		t.Fatalf("%v; it has %q", err, got)
	}
}

func labelled(key string) func(*v1.Service) {
	return func(s *v1.Service) { s.Labels = map[string]string{key: ""} }
}

// create creates a Service, and removes it at the end of the test.
func create(t *testing.T, s *v1.Service) {
	t.Helper()
	if _, err := the.Client.CoreV1().Services(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, s.Namespace+"/"+s.Name) })
}

// split returns the namespace and name of a Service: "default" unless it is named.
func split(name string) (namespace, rest string) {
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		return namespace, rest
	}
	return "default", name
}

// remove deletes a Service and waits until it is gone, which is when its
// address is free again.
func remove(t *testing.T, name string) {
	t.Helper()
	ctx := context.Background() // also called at the end of a test
	namespace, name := split(name)
	services := the.Client.CoreV1().Services(namespace)
	if err := services.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	eventually(t, name+" is gone", func() bool {
		_, err := services.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func get(t *testing.T, name string) *v1.Service {
	t.Helper()
	namespace, name := split(name)
	s, err := the.Client.CoreV1().Services(namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addressesOf(s *v1.Service) string {
	var ips []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		ips = append(ips, i.IP)
	}
	return strings.Join(ips, ",")
}

// assigned waits for the addresses of a Service.
func assigned(t *testing.T, name string) string {
	t.Helper()
	var ips string
	eventually(t, name+" has an address", func() bool {
		ips = addressesOf(get(t, name))
		return ips != ""
	})
	return ips
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := the.Wait(context.Background(), what, ok); err != nil {
		t.Fatal(err)
	}
}

// fetched waits until the client gets a page from the address.
func fetched(t *testing.T, vip string) string {
	t.Helper()
	var page string
	eventually(t, "a page from "+vip, func() bool {
		var err error
		page, err = the.Fetch(t.Context(), vip)
		return err == nil && strings.HasPrefix(page, "Welcome!")
	})
	return page
}

// owner waits until exactly one node answers for an IPv4 address and returns it.
func owner(t *testing.T, vip string) *cluster.Node {
	t.Helper()
	var node *cluster.Node
	eventually(t, "one owner of "+vip, func() bool {
		macs, err := the.WhoHas(vip, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(macs) == 1 {
			node = the.NodeByMAC(macs[0])
		}
		return node != nil
	})
	return node
}

// event waits for an Event about an object with text in its message.
func event(t *testing.T, kind, name, reason, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("event %s on %s %s with %q", reason, kind, name, text), func() bool {
		events, err := the.Client.CoreV1().Events(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{
			FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name + ",reason=" + reason})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

// pools sets the configuration, and the default one again at the end of the test.
func pools(t *testing.T, text string) {
	t.Helper()
	if err := the.SetPools(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := the.SetPools(context.Background(), cluster.DefaultPools); err != nil {
			t.Error(err)
		}
	})
}

// restartCCMs ends all cloud controller managers, whatever state they are in,
// and starts two.
func restartCCMs(t *testing.T) {
	t.Helper()
	for _, ccm := range the.CCMs() {
		ccm.Stop()
	}
	for range 2 {
		_, err := the.StartCCM(context.Background())
		must(t, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := the.Kubectl(context.Background(), args...)
	must(t, err)
	return out
}

// announcer waits until all speakers but those of the dead nodes have the same
// view of an address, which is not that a dead node announces it, and returns its
// owner.
func announcer(t *testing.T, vip string, dead ...*cluster.Node) *cluster.Node {
	t.Helper()
	var owner *cluster.Node
	eventually(t, "speakers agree on "+vip, func() bool {
		owners := map[*cluster.Node]bool{}
		for _, n := range the.Nodes() {
			if slices.Contains(dead, n) {
				continue
			}
			plan, err := n.Get(context.Background(), "/debug/plan")
			if err != nil {
				return false
			}
			_, rest, _ := strings.Cut(plan, "\n"+vip+" ")
			_, rest, _ = strings.Cut(rest, "owner=")
			name, _, _ := strings.Cut(rest, " ")
			owner = the.Node(name)
			owners[owner] = true
		}
		return len(owners) == 1 && owner != nil && !slices.Contains(dead, owner)
	})
	return owner
}

// settled waits until every speaker sees all the others, and all can announce.
func settled(t *testing.T) {
	t.Helper()
	must(t, the.Settled(context.Background()))
}
