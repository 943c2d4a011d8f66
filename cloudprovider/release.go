package cloudprovider

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// LeaseName is the name of the lease that the leading cluster manager holds.
const LeaseName = "baremetal-cloud-controller-manager"

// Released is a Service that Release has changed.
type Released struct {
	// Service is its namespace/name.
	Service string
	// Done says what was done, in words.
	Done string
}

// Release removes what this project has written to Services: the finalizers, our conditions,
// and the addresses in the status unless keep is set. After that the Services can be deleted,
// or served by another load balancer, although this project is uninstalled. With dry, Release
// changes nothing, and returns what it would do.
//
// It returns an error and does nothing while a cluster manager holds its lease, because the
// cluster manager would write everything again. It also does nothing while the binding of the
// admission policy exists, because the API server would refuse the changes. It stops at the
// first Service that it cannot write, and returns the Services before it with the error.
func Release(ctx context.Context, client kubernetes.Interface, scope service.Scope, keep, dry bool) ([]Released, error) {
	if err := checkNoLeader(ctx, client, time.Now()); err != nil {
		return nil, err
	}
	if err := checkNoPolicy(ctx, client); err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	var released []Released
	for i := range list.Items {
		svc := &list.Items[i]
		after, done := strip(svc, scope, keep)
		if done == "" {
			continue
		}
		if !dry {
			if err := patch(ctx, client, svc, after, true); err != nil {
				return released, fmt.Errorf("releasing %s: %w", service.Name(svc), err)
			}
		}
		released = append(released, Released{Service: service.Name(svc), Done: done})
	}
	return released, nil
}

// checkNoLeader returns an error if a cluster manager holds its lease. It looks in all
// namespaces, because each installation chooses its own.
func checkNoLeader(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	leases, err := client.CoordinationV1().Leases(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + LeaseName})
	if err != nil {
		return fmt.Errorf("checking whether a cloud controller manager runs: %w", err)
	}
	for _, lease := range leases.Items {
		spec := lease.Spec
		if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
			continue
		}
		if left := spec.RenewTime.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second).Sub(now); left > 0 {
			return fmt.Errorf("a cloud controller manager runs in namespace %s, or ended a moment ago, and would put everything back: delete its Deployment, and try again in %v", lease.Namespace, left.Round(time.Second))
		}
	}
	return nil
}

// checkNoPolicy returns an error if the admission policy would refuse the changes.
func checkNoPolicy(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, service.PolicyName, metav1.GetOptions{})
	switch {
	case err == nil:
		return fmt.Errorf("the ValidatingAdmissionPolicyBinding %s exists, so the API server would refuse the changes: delete it, like all other objects of this project", service.PolicyName)
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // if it exists, the first write fails and says so
		return nil
	}
	return fmt.Errorf("looking for the admission policy: %w", err)
}

// strip returns svc without our finalizer and addresses, and says in words what it removed.
// done is empty if there was nothing to remove.
func strip(svc *v1.Service, scope service.Scope, keep bool) (after *v1.Service, done string) {
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
	if hasConditions(svc) {
		dropConditions(after)
		if done != "" {
			done += ", "
		}
		done += "conditions removed"
	}
	return after, done
}
