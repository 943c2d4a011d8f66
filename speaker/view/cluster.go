// Package view gathers what this node knows: the objects of the API server, the
// members, the heartbeats and the links. It turns that into the State of a plan.
package view

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// byService is the index of EndpointSlices by namespace/name of their Service.
const byService = "service"

// Cluster is what a speaker knows from the API server: Services, Nodes,
// EndpointSlices, and the Secrets with the passwords of BGP peers.
type Cluster struct {
	scope     service.Scope
	factory   informers.SharedInformerFactory
	services  corelisters.ServiceLister
	nodes     corelisters.NodeLister
	endpoints cache.Indexer
	passwords *passwords
	synced    []cache.InformerSynced
	// ignoreExcludeLabel lets nodes with the exclude label announce.
	ignoreExcludeLabel bool
}

// NewCluster returns a Cluster that knows nothing yet. The passwords are in Secrets of
// secretNamespace. ignoreExcludeLabel lets nodes with the exclude label announce. changed is
// called for every event and must not block.
func NewCluster(client kubernetes.Interface, scope service.Scope, secretNamespace string, ignoreExcludeLabel bool, changed func()) (*Cluster, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	c := &Cluster{
		scope:    scope,
		factory:  factory,
		services: factory.Core().V1().Services().Lister(),
		nodes:    factory.Core().V1().Nodes().Lister(),

		ignoreExcludeLabel: ignoreExcludeLabel,
	}
	endpoints := factory.Discovery().V1().EndpointSlices().Informer()
	c.endpoints = endpoints.GetIndexer()
	if err := endpoints.AddIndexers(cache.Indexers{byService: serviceOfSlice}); err != nil {
		return nil, fmt.Errorf("indexing EndpointSlices: %w", err)
	}
	for _, informer := range []cache.SharedIndexInformer{factory.Core().V1().Services().Informer(), factory.Core().V1().Nodes().Informer(), endpoints} {
		registration, err := informer.AddEventHandler(onEvery(changed))
		if err != nil {
			return nil, fmt.Errorf("watching the API server: %w", err)
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	c.passwords = newPasswords(client, secretNamespace, changed)
	return c, nil
}

// onEvery returns handlers that call changed for every event.
func onEvery(changed func()) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	}
}

// Run keeps the caches up to date until ctx ends. It returns nil.
func (c *Cluster) Run(ctx context.Context) error {
	c.factory.StartWithContext(ctx)
	c.passwords.run(ctx) // until ctx ends
	c.factory.Shutdown()
	return nil
}

// Synced reports whether all Services, Nodes and EndpointSlices have been listed. It
// does not wait for Secrets: without them only some BGP sessions cannot begin.
func (c *Cluster) Synced() bool {
	for _, synced := range c.synced {
		if !synced() {
			return false
		}
	}
	return true
}

func serviceOfSlice(o any) ([]string, error) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

// slim drops the large parts of an object that no speaker needs, before the cache
// keeps it.
func slim(o any) (any, error) {
	switch o := o.(type) {
	case *v1.Service:
		o.ManagedFields, o.Annotations = nil, service.SpeakerAnnotations(o.Annotations)
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

// Service returns the Service namespace/name, or nil.
func (c *Cluster) Service(name string) *v1.Service {
	namespace, name, _ := strings.Cut(name, "/")
	svc, err := c.services.Services(namespace).Get(name)
	if err != nil {
		return nil // it was deleted
	}
	return svc
}

// Node returns the Node of that name, or nil.
func (c *Cluster) Node(name string) *v1.Node {
	node, err := c.nodes.Get(name)
	if err != nil {
		return nil // it was deleted
	}
	return node
}

// planServices returns the Services that this project serves and that have addresses.
// needsEndpoints says whether the announcement of a VIP depends on endpoints also without
// the policy Local.
func (c *Cluster) planServices(now time.Time, settling *settling, withheld map[types.UID][]netip.Addr, needsEndpoints func(vip netip.Addr) bool) ([]plan.Service, error) {
	settling.begin()
	defer settling.end()
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Services from the cache: %w", err)
	}
	var services []plan.Service
	for _, svc := range all {
		vips := service.VIPs(svc)
		held := slices.DeleteFunc(slices.Clone(withheld[svc.UID]), func(addr netip.Addr) bool { return slices.Contains(vips, addr) })
		vips = append(vips, held...)
		if !c.scope.Ours(svc) || len(vips) == 0 {
			continue
		}
		s := plan.Service{Name: service.Name(svc), VIPs: vips, Local: service.Local(svc), Sticky: service.Sticky(svc), Preferred: service.PreferredNode(svc), Withheld: held}
		s.Spread, _ = service.Spread(svc) // the cluster manager tells the user of an error
		for _, p := range service.Ports(svc) {
			s.Ports = append(s.Ports, plan.Port(p))
		}
		withdraws := slices.ContainsFunc(vips, needsEndpoints)
		if s.Local || withdraws {
			endpoints, err := c.endpointSlices(s.Name)
			if err != nil {
				return nil, err
			}
			if s.Local {
				ready, terminating := service.EndpointNodes(endpoints)
				s.EndpointNodes, s.Endpoints = settling.nodes(now, s.Name, ready, terminating), service.EndpointCounts(endpoints)
			}
			s.Endpointless = withdraws && !service.HasEndpoint(endpoints)
		}
		services = append(services, s)
	}
	return services, nil
}

func (c *Cluster) endpointSlices(name string) (all []*discoveryv1.EndpointSlice, err error) {
	objects, err := c.endpoints.ByIndex(byService, name)
	if err != nil {
		return nil, fmt.Errorf("listing EndpointSlices of %s from the cache: %w", name, err)
	}
	for _, o := range objects {
		if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
			all = append(all, slice)
		}
	}
	return all, nil
}
