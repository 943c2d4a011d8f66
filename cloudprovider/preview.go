package cloudprovider

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Preview is the effect of a configuration on the Services of a cluster.
type Preview struct {
	// Warnings are about pools that do not fit the network of the cluster.
	Warnings []string
	// Effects are changes and problems, the oldest Service first.
	Effects []Effect
	// Moves are the Services whose addresses would change, the oldest first.
	Moves []Move
	// Unchanged is the number of Services without an effect.
	Unchanged int
	// Usage is how full the pools would be.
	Usage []ipam.Usage
}

// Effect is a change or a problem of one Service.
type Effect struct {
	Service string // namespace/name
	Text    string
}

// Move says which addresses a Service has in its status, and which it would have.
type Move struct {
	Service       string // namespace/name
	Before, After []netip.Addr
}

// clusterState is what a preview reads from the cluster.
type clusterState struct {
	services     []*v1.Service
	namespaces   map[string]map[string]string // their labels
	nodes        []*v1.Node
	links        map[string]configmap.NodeLinks
	serviceCIDRs []netip.Prefix
	inUse        configmap.InUse
	// present is the configuration in the operator's ConfigMap, nil if it is missing or bad. The
	// cluster manager may not have published it yet.
	present *config.Config
}

// PreviewIn reads the cluster, and returns the effect of the configuration on its Services.
// ref is the ConfigMap of the operator. It changes nothing in the cluster.
func PreviewIn(ctx context.Context, client kubernetes.Interface, scope service.Scope, ref configmap.Ref, c *config.Config) (Preview, error) {
	state, err := readCluster(ctx, client, scope, ref)
	if err != nil {
		return Preview{}, err
	}
	p := preview(c, state)
	p.Warnings = networkWarnings(c, state)
	return p, nil
}

func readCluster(ctx context.Context, client kubernetes.Interface, scope service.Scope, ref configmap.Ref) (s clusterState, err error) {
	if s.services, err = listServices(ctx, client, scope); err != nil {
		return s, err
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("listing namespaces: %w", err)
	}
	s.namespaces = map[string]map[string]string{}
	for _, n := range namespaces.Items {
		s.namespaces[n.Name] = n.Labels
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("listing Nodes: %w", err)
	}
	for i := range nodes.Items {
		s.nodes = append(s.nodes, &nodes.Items[i])
	}
	cidrs, err := client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) { // an old API server does not have them
		return s, fmt.Errorf("listing ServiceCIDRs: %w", err)
	}
	if err == nil {
		for _, cidr := range cidrs.Items {
			s.serviceCIDRs = append(s.serviceCIDRs, parsePrefixes(cidr.Spec.CIDRs)...)
		}
	}
	inUse, err := getConfigMap(ctx, client, ref.Namespace, ref.InUse())
	if err != nil {
		return s, err
	}
	if s.inUse, err = configmap.ReadInUse(inUse); err != nil {
		return s, err
	}
	present, err := getConfigMap(ctx, client, ref.Namespace, ref.Name)
	if err != nil {
		return s, err
	}
	if present != nil {
		s.present, _ = config.Parse([]byte(present.Data[configmap.Key])) // a bad one is not in use
	}
	links, err := getConfigMap(ctx, client, ref.Namespace, ref.NodeLinks())
	if err != nil {
		return s, err
	}
	s.links = configmap.ReadNodeLinks(links, slog.New(slog.DiscardHandler))
	return s, nil
}

// getConfigMap returns a ConfigMap, or nil if it does not exist.
func getConfigMap(ctx context.Context, client kubernetes.Interface, namespace, name string) (*v1.ConfigMap, error) {
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, name, err)
	}
	return cm, nil
}

func parsePrefixes(texts []string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil { // the API server has validated it
			prefixes = append(prefixes, p.Masked())
		}
	}
	return prefixes
}

// preview does what the cluster manager would do: it adopts all addresses under the
// configurations in use, begins to use c, and allocates for every Service.
func preview(c *config.Config, s clusterState) Preview {
	allocator := ipam.New()
	allocator.SetReserved(reserved(s.nodes, s.links))
	var p Preview
	labelsOf := func(namespace string) map[string]string { return s.namespaces[namespace] }
	adoptInto(allocator, s.services, s.inUse, []*config.Config{s.present, c}, labelsOf, func(*v1.Service) bool { return false }, func(svc *v1.Service, adoptions []ipam.Adoption) {
		for _, a := range adoptions {
			switch {
			case a.Refused != nil:
				p.Effects = append(p.Effects, Effect{service.Name(svc), fmt.Sprintf("cannot keep an address: %v", a.Refused)})
			case a.Warning != "":
				p.Effects = append(p.Effects, Effect{service.Name(svc), fmt.Sprintf("would keep an address that it would not get now: %s", a.Warning)})
			}
		}
	})
	serveAll(allocator, s)
	for _, svc := range s.services {
		if svc.DeletionTimestamp != nil {
			p.Unchanged++
			continue
		}
		texts := effects(allocator, svc, s.namespaces[svc.Namespace])
		for _, text := range texts {
			p.Effects = append(p.Effects, Effect{service.Name(svc), text})
		}
		if len(texts) == 0 {
			p.Unchanged++
		}
		if before, after := service.VIPs(svc), allocator.Addrs(string(svc.UID)); !slices.Equal(before, after) {
			p.Moves = append(p.Moves, Move{service.Name(svc), before, after})
		}
	}
	p.Usage = allocator.Usage()
	return p
}

// serveAll allocates for all Services again and again until nothing changes, because a
// Service can wait for an address that a later Service gives up.
func serveAll(allocator *ipam.Allocator, s clusterState) {
	for range len(s.services) + 1 {
		chances := allocator.Chances()
		for _, svc := range s.services {
			if r, err := request(svc, s.namespaces[svc.Namespace]); err == nil && svc.DeletionTimestamp == nil {
				_, _ = allocator.Allocate(r) // effects reports the refusal
			}
		}
		if allocator.Chances() == chances {
			return
		}
	}
}

// effects allocates for one Service, and returns the changes and problems, if any.
func effects(allocator *ipam.Allocator, svc *v1.Service, namespaceLabels map[string]string) []string {
	had := service.VIPs(svc)
	r, err := request(svc, namespaceLabels)
	var addrs []netip.Addr
	if err == nil {
		addrs, err = allocator.Allocate(r)
	}
	var texts []string
	switch {
	case err != nil && len(had) == 0:
		texts = append(texts, fmt.Sprintf("would wait: %v", err))
	case err != nil && len(allocator.Addrs(r.UID)) == 0:
		texts = append(texts, fmt.Sprintf("would lose %s, and wait: %v", list(had), err))
	case err != nil:
		texts = append(texts, fmt.Sprintf("would keep %s, and not get what it asks for: %v", list(allocator.Addrs(r.UID)), err))
	case len(had) == 0:
		texts = append(texts, "waits, and would get "+list(addrs))
	case !slices.Equal(had, addrs):
		texts = append(texts, fmt.Sprintf("has %s, and would get %s", list(had), list(addrs)))
	}
	for _, o := range allocator.Orphans(r) {
		texts = append(texts, fmt.Sprintf("would keep an address that no pool gives it: %s", o.Why))
	}
	return texts
}
