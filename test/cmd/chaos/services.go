package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// loadBalancer returns a Service of type LoadBalancer for the pods with the label app.
func loadBalancer(name, app string, policy v1.ServiceExternalTrafficPolicy) *v1.Service {
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: policy,
			Selector: map[string]string{"app": app}, Ports: []v1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}},
	}
}

// pod returns a web server with the label app. Without a node it runs on the worker.
func pod(name, app, node string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": app}},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Name: "web", Image: "web"}}},
	}
}

// createServices creates the Services, with their pods, and waits until a client gets a page
// from each. The pods of Services with policy Cluster run on the worker, which never fails.
// Those of Services with policy Local run on the first three nodes.
func (c *chaos) createServices(ctx context.Context) error {
	var all []string
	for _, n := range c.Nodes() {
		all = append(all, n.Name)
	}
	near := all[:min(3, len(all))]
	pods := []*v1.Pod{pod("web", "web", "")}
	for _, node := range near {
		pods = append(pods, pod("near-"+node, "near", node))
	}
	for _, p := range pods {
		if _, err := c.Client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for i := range c.options.services + c.options.local {
		s, nodes := loadBalancer(fmt.Sprint("web-", i+1), "web", v1.ServiceExternalTrafficPolicyCluster), all
		if i >= c.options.services {
			s, nodes = loadBalancer(fmt.Sprint("near-", i+1), "near", v1.ServiceExternalTrafficPolicyLocal), near
		}
		if c.options.spread {
			s.Annotations = map[string]string{"lb.baremetal/spread": "true"}
		}
		if _, err := c.Client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return err
		}
		c.vips = append(c.vips, vip{service: s.Name, nodes: nodes})
	}
	for i := range c.vips {
		v := &c.vips[i]
		if err := c.Wait(ctx, "the page of "+v.service, func() bool {
			s, err := c.Client.CoreV1().Services("default").Get(ctx, v.service, metav1.GetOptions{})
			if err != nil || len(s.Status.LoadBalancer.Ingress) == 0 {
				return false
			}
			v.addr = s.Status.LoadBalancer.Ingress[0].IP
			_, err = c.Fetch(ctx, v.addr)
			return err == nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// serviceWatch gives all changes of Services to a ledger, and collects what is wrong.
type serviceWatch struct {
	mu     sync.Mutex
	ledger *ledger
	wrong  []string
}

// take returns what was wrong since the last call.
func (w *serviceWatch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	wrong := w.wrong
	w.wrong = nil
	return wrong
}

// watchServices watches all Services until ctx ends.
func (c *chaos) watchServices(ctx context.Context) (*serviceWatch, error) {
	w := &serviceWatch{ledger: newLedger()}
	factory := informers.NewSharedInformerFactory(c.Client, 0)
	see := func(o any) {
		s, ok := o.(*v1.Service)
		if !ok || s.Spec.Type != v1.ServiceTypeLoadBalancer {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if s.DeletionTimestamp != nil {
			w.ledger.gone(s.Name)
			return
		}
		var addresses []string
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			addresses = append(addresses, ingress.IP)
		}
		slices.Sort(addresses)
		w.wrong = append(w.wrong, w.ledger.see(s.Name, addresses)...)
	}
	gone := func(o any) {
		if name, err := cache.DeletionHandlingObjectToName(o); err == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ledger.gone(name.Name)
		}
	}
	services := factory.Core().V1().Services().Informer()
	if _, err := services.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }, DeleteFunc: gone}); err != nil {
		return nil, fmt.Errorf("watching Services: %w", err)
	}
	factory.StartWithContext(ctx)
	return w, nil
}
