package main

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

// pools is the configuration, with a pool "ingress" of so many addresses.
func pools(ingress int) string {
	return fmt.Sprintf(`peers:
- {name: router, my-asn: %d, peer-asn: %d, peer-address: %s, bfd-profile: quick}
bfd-profiles:
- {name: quick, receive-interval: 300, transmit-interval: 300}
address-pools:
- {name: default, protocol: layer2, addresses: [192.168.120.200-192.168.120.219, "fd00:120::200-fd00:120::20f"]}
- {name: ingress, protocol: layer2, priority: 1, addresses: [192.168.120.230-192.168.120.%d], service-selectors: [{match-labels: {pool: ingress}}]}
- {name: routed, protocol: bgp, priority: 1, addresses: [198.51.100.0/28], service-selectors: [{match-labels: {pool: routed}}]}
`, cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4, 229+ingress)
}

// story is what happens while the programs are scraped.
type story struct {
	*cluster.Cluster
	router  *cluster.Router
	clients []*cluster.Probe
}

// deploy starts the programs and the pods of the Services.
func (s *story) deploy(ctx context.Context) error {
	for _, file := range []string{"rbac.yaml", "policy.yaml"} {
		if _, err := s.Kubectl(ctx, "apply", "-f", s.Root()+"/manifests/report-dead-nodes/"+file); err != nil {
			return err
		}
	}
	if _, err := s.StartCCM(ctx, "--report-dead-nodes"); err != nil {
		return err
	}
	if err := s.Deploy(ctx, 0); err != nil {
		return err
	}
	if err := s.Settled(ctx); err != nil {
		return err
	}
	_, err := s.Kubectl(ctx, "create", "deployment", "web", "--image=web", "--replicas=2")
	return err
}

// tell makes Services, and lets a client use them. A node loses its power and comes back, the configuration
// changes, and at last the router's daemon dies.
func (s *story) tell(ctx context.Context) error {
	if err := s.pass(ctx, "the programs run, without Services", 20*time.Second); err != nil {
		return err
	}
	if err := s.expose(ctx); err != nil {
		return err
	}
	vip, err := deaths.Address(ctx, s.Cluster, "web")
	if err != nil {
		return err
	}
	for _, service := range []string{"web", "api"} {
		address, err := deaths.Address(ctx, s.Cluster, service)
		if err != nil {
			return err
		}
		client, err := s.StartProbeEvery(address, 20*time.Millisecond)
		if err != nil {
			return err
		}
		defer client.Stop()
		s.clients = append(s.clients, client)
	}
	if err := s.pass(ctx, "a client uses the Services", 50*time.Second); err != nil {
		return err
	}
	if err := s.powerFailure(ctx, vip); err != nil {
		return err
	}
	if err := s.SetPools(ctx, pools(6)); err != nil {
		return err
	}
	if err := s.pass(ctx, "the configuration has changed", 40*time.Second); err != nil {
		return err
	}
	s.router.Kill()
	return s.pass(ctx, "the router's daemon is dead", 40*time.Second)
}

// powerFailure lets the node that announces vip lose its power. The node comes back after a minute.
func (s *story) powerFailure(ctx context.Context, vip string) error {
	victim, err := deaths.Owner(ctx, s.Cluster, vip)
	if err != nil {
		return err
	}
	if err := victim.Kill(); err != nil {
		return err
	}
	victim.Speaker().Kill()
	if err := s.pass(ctx, victim.Name+" has no power", time.Minute); err != nil {
		return err
	}
	if err := victim.Revive(); err != nil {
		return err
	}
	if err := victim.StartSpeaker(ctx); err != nil {
		return err
	}
	return s.pass(ctx, victim.Name+" has power again", 70*time.Second)
}

// pass lets time pass, and says how many requests of the clients have failed in it. It fails if a program crashes.
func (s *story) pass(ctx context.Context, what string, d time.Duration) error {
	begun := time.Now()
	fmt.Printf("%s %s: ", begun.UTC().Format(time.TimeOnly), what)
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	sent, failed := 0, 0
	for _, client := range s.clients {
		for _, a := range client.Attempts(begun) {
			sent++
			if !a.OK {
				failed++
			}
		}
	}
	fmt.Printf("%d of %d requests failed\n", failed, sent)
	return s.Crashed()
}

// expose makes the Services: two of the pool "default", of which one is spread, some of the two other pools, and
// one that no pool can give an address to.
func (s *story) expose(ctx context.Context) error {
	both := v1.IPFamilyPolicyPreferDualStack
	services := []v1.Service{
		service("web", "", map[string]string{"lb.baremetal/spread": "true"}),
		service("api", "", nil),
		service("wrong", "", map[string]string{"lb.baremetal/addresses": "203.0.113.9"}),
	}
	services[1].Spec.IPFamilyPolicy = &both
	for i := range 5 {
		services = append(services, service(fmt.Sprint("ingress", i+1), "ingress", nil))
	}
	for i := range 3 {
		services = append(services, service(fmt.Sprint("routed", i+1), "routed", nil))
	}
	for _, one := range services {
		if _, err := s.Client.CoreV1().Services("default").Create(ctx, &one, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// service returns a Service that may have an address of a pool.
func service(name, pool string, annotations map[string]string) v1.Service {
	one := v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, Ports: []v1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}},
	}
	if pool != "" {
		one.Labels = map[string]string{"pool": pool}
	}
	return one
}
