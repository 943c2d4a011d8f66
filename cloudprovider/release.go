package cloudprovider

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// LeaseName is the name of the lease that the leading cloud controller manager holds.
const LeaseName = "baremetal-cloud-controller-manager"

// Release takes back what this project has written into Services, so that they can
// be deleted or served by others when it is gone: the finalizers, and unless keep is
// set the addresses in their status. While a cloud controller manager holds its
// lease, which would put everything back, Release does nothing and says so. It calls
// say for every Service, with what has been done; with dry nothing is, and it calls
// say with what would be.
func Release(ctx context.Context, client kubernetes.Interface, scope service.Scope, keep, dry bool, say func(service, done string)) error {
	if err := nobodyLeads(ctx, client, time.Now()); err != nil {
		return err
	}
	list, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	for i := range list.Items {
		svc := &list.Items[i]
		after, done := released(svc, scope, keep)
		if done == "" {
			continue
		}
		if !dry {
			if err := patch(ctx, client, svc, after); err != nil {
				return fmt.Errorf("releasing %s: %w", service.Name(svc), err)
			}
		}
		say(service.Name(svc), done)
	}
	return nil
}

// nobodyLeads looks in all namespaces, since it is for each installation to choose one.
func nobodyLeads(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	leases, err := client.CoordinationV1().Leases(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + LeaseName})
	if err != nil {
		return fmt.Errorf("looking whether a cloud controller manager runs: %w", err)
	}
	for _, lease := range leases.Items {
		spec := lease.Spec
		if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
			continue
		}
		if left := spec.RenewTime.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second).Sub(now); left > 0 {
			return fmt.Errorf("a cloud controller manager runs in namespace %s, or has run until a moment ago, and would put everything back: delete its Deployment, and try again in %v", lease.Namespace, left.Round(time.Second))
		}
	}
	return nil
}

// released returns svc without what is ours, and says in words what that is; nothing
// if there is none.
func released(svc *v1.Service, scope service.Scope, keep bool) (after *v1.Service, done string) {
	after = svc.DeepCopy()
	classless := scope.Default && svc.Spec.LoadBalancerClass == nil
	after.Finalizers = slices.DeleteFunc(after.Finalizers, func(f string) bool {
		return f == service.Finalizer || classless && f == servicehelpers.LoadBalancerCleanupFinalizer
	})
	if len(after.Finalizers) < len(svc.Finalizers) {
		done = "finalizer removed"
	}
	if !keep && scope.Ours(svc) && len(svc.Status.LoadBalancer.Ingress) > 0 {
		after.Status.LoadBalancer = v1.LoadBalancerStatus{}
		if done != "" {
			done += ", "
		}
		done += list(service.VIPs(svc)) + " released"
	}
	return after, done
}
