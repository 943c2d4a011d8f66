package speaker

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// byService is the index of EndpointSlices by namespace/name of their Service.
const byService = "service"

// watched is what a speaker knows from the API server.
type watched struct {
	scope    service.Scope
	factory  informers.SharedInformerFactory
	services corelisters.ServiceLister
	nodes    corelisters.NodeLister
	slices   cache.Indexer
	synced   []cache.InformerSynced
}

// watch prepares the informers; changed is called for every event.
func watch(client kubernetes.Interface, scope service.Scope, changed func()) (*watched, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	w := &watched{
		scope:    scope,
		factory:  factory,
		services: factory.Core().V1().Services().Lister(),
		nodes:    factory.Core().V1().Nodes().Lister(),
	}
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	w.slices = slices.GetIndexer()
	if err := slices.AddIndexers(cache.Indexers{byService: serviceOfSlice}); err != nil {
		return nil, fmt.Errorf("indexing EndpointSlices: %w", err)
	}
	for _, informer := range []cache.SharedIndexInformer{factory.Core().V1().Services().Informer(), factory.Core().V1().Nodes().Informer(), slices} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { changed() },
			UpdateFunc: func(any, any) { changed() },
			DeleteFunc: func(any) { changed() },
		})
		if err != nil {
			return nil, fmt.Errorf("watching the API server: %w", err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	return w, nil
}

func serviceOfSlice(o any) ([]string, error) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

// slim drops what is large and not needed, before it is kept in memory.
func slim(o any) (any, error) {
	switch o := o.(type) {
	case *v1.Service:
		o.ManagedFields, o.Annotations = nil, nil
	case *v1.Node:
		o.ManagedFields, o.Annotations, o.Status.Images, o.Status.Capacity, o.Status.Allocatable = nil, nil, nil, nil, nil
	case *v1.Secret:
		o.ManagedFields, o.Annotations = nil, nil
	case *discoveryv1.EndpointSlice:
		o.ManagedFields, o.Annotations = nil, nil
		for i := range o.Endpoints {
			o.Endpoints[i] = discoveryv1.Endpoint{NodeName: o.Endpoints[i].NodeName, Conditions: o.Endpoints[i].Conditions}
		}
	}
	return o, nil
}

// snapshot reads the caches into values.
func (w *watched) snapshot() ([]Service, []Node, error) {
	var services []Service
	all, err := w.services.List(labels.Everything())
	if err != nil {
		return nil, nil, fmt.Errorf("listing Services from the cache: %w", err)
	}
	for _, svc := range all {
		vips := service.VIPs(svc)
		if !w.scope.Ours(svc) || len(vips) == 0 {
			continue
		}
		s := Service{Name: service.Name(svc), VIPs: vips, Local: service.Local(svc), Sticky: service.Sticky(svc)}
		if s.Local {
			if s.EndpointNodes, err = w.endpointNodes(s.Name); err != nil {
				return nil, nil, err
			}
		}
		services = append(services, s)
	}
	nodes, err := w.nodes.List(labels.Everything())
	if err != nil {
		return nil, nil, fmt.Errorf("listing Nodes from the cache: %w", err)
	}
	var values []Node
	for _, n := range nodes {
		values = append(values, Node{Name: n.Name, Labels: n.Labels, Excluded: excluded(n)})
	}
	return services, values, nil
}

func (w *watched) endpointNodes(name string) ([]string, error) {
	objects, err := w.slices.ByIndex(byService, name)
	if err != nil {
		return nil, fmt.Errorf("listing EndpointSlices of %s from the cache: %w", name, err)
	}
	var slices []*discoveryv1.EndpointSlice
	for _, o := range objects {
		if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
			slices = append(slices, slice)
		}
	}
	return service.EndpointNodes(slices), nil
}

// excluded says why a node must not announce, or "". A node that is only
// cordoned or NotReady may: its speaker is alive, and knows better.
func excluded(n *v1.Node) string {
	if _, ok := n.Labels[v1.LabelNodeExcludeBalancers]; ok {
		return "it has the label " + v1.LabelNodeExcludeBalancers
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeNetworkUnavailable && c.Status == v1.ConditionTrue {
			return "its network is unavailable"
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Key == v1.TaintNodeOutOfService {
			return "it has the taint " + v1.TaintNodeOutOfService
		}
	}
	return ""
}

// service returns the Service namespace/name, or nil.
func (s *Speaker) service(name string) *v1.Service {
	namespace, name, _ := strings.Cut(name, "/")
	svc, err := s.watched.services.Services(namespace).Get(name)
	if err != nil {
		return nil // gone meanwhile
	}
	return svc
}
