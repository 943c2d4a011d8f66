// Command replace replaces a MetalLB that has custom resources while clients request pages:
// three pools, two peers, ten Services. It prints how long that takes, and how many requests
// are lost. It fails if a Service gets another address. hack/bench-replace runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func main() {
	daemon := flag.String("router", "FRR", "the daemon of the router, FRR or BIRD")
	flag.Parse()
	needs := cluster.Needs{
		Programs: []cluster.Program{cluster.MetalLB016Controller, cluster.MetalLB016Speaker},
		Modules:  []string{metalLBModule + "@v0.16.1"},
		Debian:   []string{"bird=bird2", "vtysh=frr"},
	}
	os.Exit(cluster.Main(needs, func(env cluster.Env) int {
		if err := replace(context.Background(), env, *daemon); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

func replace(ctx context.Context, env cluster.Env, daemon string) error {
	plugin := filepath.Join(env.Dir, "kubectl-baremetal")
	build := exec.CommandContext(ctx, "go", "build", "-o", plugin, "./cmd/kubectl-baremetal")
	build.Dir = env.Root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w: %s", err, out)
	}
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, Pools: "-"})
	if err != nil {
		return err
	}
	defer c.Close()
	router, err := c.StartRouter(ctx, cluster.RouterOptions{Daemon: daemon})
	if err != nil {
		return err
	}
	defer router.Close()
	// A cluster with MetalLB does not have the policy.
	if _, err := c.Kubectl(ctx, "delete", "--ignore-not-found", "-f", filepath.Join(env.Root, "manifests", "policy.yaml")); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "create", "deployment", "web", "--image=web", "--replicas=2"); err != nil {
		return err
	}
	theirs, err := startMetalLB(ctx, c, env)
	if err != nil {
		return fmt.Errorf("starting MetalLB: %w", err)
	}
	defer theirs.stop()
	if err := createServices(ctx, c); err != nil {
		return err
	}
	before, err := addresses(ctx, c)
	if err != nil {
		return err
	}
	fmt.Printf("addresses from MetalLB: %v\n", before)
	return change(ctx, c, env, plugin, router, theirs, before)
}

// change replaces MetalLB while two clients request pages.
func change(ctx context.Context, c *cluster.Cluster, env cluster.Env, plugin string, router *cluster.Router, theirs *metalLB, before map[string]string) error {
	onLink, routed := before["web-0"], before["routed-0"]
	if err := reachable(ctx, c, router, onLink, routed); err != nil {
		return err
	}
	link, err := c.StartProbe(onLink)
	if err != nil {
		return err
	}
	defer link.Stop()
	outside, err := router.StartProbe(routed)
	if err != nil {
		return err
	}
	defer outside.Stop()

	begun := time.Now()
	configMap := filepath.Join(env.Dir, "configmap.yaml")
	if err := convert(ctx, c, plugin, configMap); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "apply", "-f", configMap); err != nil {
		return err
	}
	prepared := time.Now()
	theirs.stop() // kubectl delete deployments,daemonsets
	if err := c.ApplyPolicy(ctx); err != nil {
		return err
	}
	if err := c.Deploy(ctx, 2); err != nil { // kubectl apply -k manifests
		return err
	}
	if err := c.Wait(ctx, "all Services have finalizers", func() bool { return adopted(ctx, c) }); err != nil {
		return err
	}
	if err := reachable(ctx, c, router, onLink, routed); err != nil {
		return err
	}
	done := time.Now()
	after, err := addresses(ctx, c)
	if err != nil {
		return err
	}
	for name, address := range before {
		if after[name] != address {
			err = fmt.Errorf("%s had %s, and has %s", name, address, after[name])
		}
	}
	fmt.Printf("convert and apply: %v; MetalLB stopped, this project announces everything: %v\n", prepared.Sub(begun).Round(time.Millisecond), done.Sub(prepared).Round(time.Millisecond))
	report("layer 2, client on the link", link.Attempts(begun))
	report("BGP, client behind the router", outside.Attempts(begun))
	return err
}

// reachable waits until both clients get pages, and the router sends packets to all nodes.
func reachable(ctx context.Context, c *cluster.Cluster, router *cluster.Router, onLink, routed string) error {
	return c.Wait(ctx, "pages from "+onLink+" and "+routed, func() bool {
		_, err := c.Fetch(ctx, onLink)
		if err != nil {
			return false
		}
		hops, err := router.NextHops(routed)
		if err != nil || len(hops) != 3 {
			return false
		}
		_, err = router.Fetch(ctx, routed)
		return err == nil
	})
}

// convert runs the plugin on the cluster. Everything must be carried over.
func convert(ctx context.Context, c *cluster.Cluster, plugin, to string) error {
	cmd := exec.CommandContext(ctx, plugin, "convert", "--from=metallb", "--configmap", "--kubeconfig="+c.Kubeconfig())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("converting: %w", err)
	}
	return os.WriteFile(to, out, 0o644)
}

// createServices creates ten Services: six in the office pool, two that share an address of
// the reserved one, and two that are routed.
func createServices(ctx context.Context, c *cluster.Cluster) error {
	create := func(name string, port int32, change func(*v1.Service)) error {
		s := &v1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Annotations: map[string]string{}, Labels: map[string]string{}},
			Spec: v1.ServiceSpec{
				Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
				Ports: []v1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(80)}},
			},
		}
		change(s)
		_, err := c.Client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		return err
	}
	for i := range 6 {
		if err := create(fmt.Sprint("web-", i), 80, func(*v1.Service) {}); err != nil {
			return err
		}
	}
	for i := range 2 {
		err := create(fmt.Sprint("shared-", i), 80+int32(i), func(s *v1.Service) {
			s.Annotations["metallb.io/address-pool"], s.Annotations["metallb.io/allow-shared-ip"] = "reserved", "key"
		})
		if err == nil {
			err = create(fmt.Sprint("routed-", i), 80, func(s *v1.Service) { s.Labels["network"] = "routed" })
		}
		if err != nil {
			return err
		}
	}
	return c.Wait(ctx, "all Services have addresses", func() bool {
		found, err := addresses(ctx, c)
		return err == nil && len(found) == 10
	})
}

// addresses returns the addresses of all Services that have any.
func addresses(ctx context.Context, c *cluster.Cluster) (map[string]string, error) {
	services, err := c.Client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, s := range services.Items {
		var ips []string
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			ips = append(ips, ingress.IP)
		}
		if len(ips) > 0 {
			found[s.Name] = strings.Join(ips, ",")
		}
	}
	return found, nil
}

// adopted reports whether the cluster manager has taken over all Services.
func adopted(ctx context.Context, c *cluster.Cluster) bool {
	services, err := c.Client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false
	}
	count := 0
	for _, s := range services.Items {
		if s.Spec.Type == v1.ServiceTypeLoadBalancer && len(s.Finalizers) > 0 {
			count++
		}
	}
	return count == 10
}

func report(name string, attempts []cluster.Attempt) {
	failed := 0
	for _, a := range attempts {
		if !a.OK {
			failed++
		}
	}
	fmt.Printf("%s: %d requests, %d failed\n", name, len(attempts), failed)
}
