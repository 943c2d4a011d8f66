package cloudprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// says reports whether the status of svc is what it is for these addresses.
func says(svc *v1.Service, addrs []netip.Addr) bool {
	ingress := svc.Status.LoadBalancer.Ingress
	if len(ingress) != len(addrs) {
		return false
	}
	for i, want := range status(addrs).Ingress {
		if ingress[i].IP != want.IP || ingress[i].Hostname != "" || ingress[i].IPMode != nil && *ingress[i].IPMode != *want.IPMode {
			return false
		}
	}
	return true
}

// settled reports whether there is nothing to write: the status is right, and what
// has an address has a finalizer.
func settled(svc *v1.Service, addrs []netip.Addr) bool {
	return says(svc, addrs) && (len(addrs) == 0 || servicehelpers.HasLBFinalizer(svc) || hasOwnFinalizer(svc))
}

// write makes the status of svc that of these addresses, sees that it has the
// finalizer, and says what was not as this project had left it.
func (c *Cloud) write(ctx context.Context, svc *v1.Service, addrs []netip.Addr, finalizer string) error {
	right, held := says(svc, addrs), slices.Contains(svc.Finalizers, finalizer)
	if right && (held || len(addrs) == 0) {
		c.standings.written(svc)
		return nil
	}
	had := service.VIPs(svc)
	after := svc.DeepCopy()
	after.Status.LoadBalancer = *status(addrs)
	if !held {
		after.Finalizers = append(after.Finalizers, finalizer)
	}
	if err := c.patch(ctx, svc, after); err != nil {
		return err
	}
	outstanding := c.standings.written(svc)
	if !right && !outstanding {
		c.log.Warn("status put right", "service", service.Name(svc), "had", had, "has", addrs)
		c.events.Eventf(svc, v1.EventTypeWarning, "StatusRepaired", "The status said %s; this Service has %s", list(had), list(addrs))
	}
	if !held && !outstanding {
		c.log.Warn("finalizer put back", "service", service.Name(svc), "finalizer", finalizer)
		c.events.Eventf(svc, v1.EventTypeWarning, "FinalizerRestored", "The finalizer %s was missing; without it the address would not be released in order", finalizer)
	}
	return nil
}

// patch writes what differs in status and finalizers, for this version of the
// Service only. A Service that is gone needs nothing.
func (c *Cloud) patch(ctx context.Context, before, after *v1.Service) error {
	return patch(ctx, c.client, before, after)
}

func patch(ctx context.Context, client kubernetes.Interface, before, after *v1.Service) error {
	before = before.DeepCopy()
	before.UID, before.ResourceVersion = "", "" // so that the patch has them, as preconditions
	oldJSON, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("encoding a Service: %w", err)
	}
	newJSON, err := json.Marshal(after)
	if err != nil {
		return fmt.Errorf("encoding a Service: %w", err)
	}
	difference, err := strategicpatch.CreateTwoWayMergePatch(oldJSON, newJSON, v1.Service{})
	if err != nil {
		return fmt.Errorf("making a patch: %w", err)
	}
	_, err = client.CoreV1().Services(after.Namespace).Patch(ctx, after.Name, types.StrategicMergePatchType, difference, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
