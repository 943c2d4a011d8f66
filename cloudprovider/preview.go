package cloudprovider

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Preview is the effect of a configuration on the Services of a cluster.
type Preview struct {
	// Effects are changes and problems, the oldest Service first.
	Effects []Effect
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

// PreviewIn reads the Services and namespaces from the cluster, and returns the effect of
// the configuration on them. It changes nothing in the cluster.
func PreviewIn(ctx context.Context, client kubernetes.Interface, scope service.Scope, c *config.Config) (Preview, error) {
	services, err := listServices(ctx, client, scope)
	if err != nil {
		return Preview{}, err
	}
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return Preview{}, fmt.Errorf("listing namespaces: %w", err)
	}
	namespaces := map[string]map[string]string{}
	for _, n := range list.Items {
		namespaces[n.Name] = n.Labels
	}
	return preview(c, services, namespaces), nil
}

// preview allocates for the Services like a cluster manager that starts with the
// configuration.
func preview(c *config.Config, services []*v1.Service, namespaces map[string]map[string]string) Preview {
	allocator := ipam.New()
	slices.SortFunc(services, adoptionOrder)
	var p Preview
	for _, svc := range services {
		r, _ := request(svc, namespaces[svc.Namespace])
		if err := allocator.Adopt(r); err != nil {
			p.Effects = append(p.Effects, Effect{service.Name(svc), fmt.Sprintf("%v: it would get another", err)})
		}
	}
	allocator.SetPools(c)
	for _, svc := range services {
		if svc.DeletionTimestamp != nil {
			p.Unchanged++
			continue
		}
		texts := effects(allocator, svc, namespaces[svc.Namespace])
		for _, text := range texts {
			p.Effects = append(p.Effects, Effect{service.Name(svc), text})
		}
		if len(texts) == 0 {
			p.Unchanged++
		}
	}
	p.Usage = allocator.Usage()
	return p
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
