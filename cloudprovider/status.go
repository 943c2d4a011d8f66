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

// status returns the status of a Service with these addresses. It always sets ipMode. The
// API server would set the default VIP, but upstream compares the status before that, and
// would patch it again and again.
func status(addrs []netip.Addr) *v1.LoadBalancerStatus {
	mode := v1.LoadBalancerIPModeVIP
	s := &v1.LoadBalancerStatus{}
	for _, addr := range addrs {
		s.Ingress = append(s.Ingress, v1.LoadBalancerIngress{IP: addr.String(), IPMode: &mode})
	}
	return s
}

// statusMatches reports whether the status of svc has exactly these addresses.
func statusMatches(svc *v1.Service, addrs []netip.Addr) bool {
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

// inSync reports whether there is nothing to write: the status has these addresses, and a
// Service with an address has a finalizer.
func inSync(svc *v1.Service, addrs []netip.Addr) bool {
	return statusMatches(svc, addrs) && (len(addrs) == 0 || servicehelpers.HasLBFinalizer(svc) || hasOwnFinalizer(svc))
}

// writeStatus writes these addresses to the status of svc, and adds the finalizer. It
// reports a status or finalizer that was changed from outside.
func (c *Cloud) writeStatus(ctx context.Context, svc *v1.Service, addrs []netip.Addr, finalizer string) error {
	matches, hasFinalizer := statusMatches(svc, addrs), slices.Contains(svc.Finalizers, finalizer)
	if matches && (hasFinalizer || len(addrs) == 0) {
		c.tracker.setWritten(svc)
		return nil
	}
	before := service.VIPs(svc)
	after := svc.DeepCopy()
	after.Status.LoadBalancer = *status(addrs)
	if !hasFinalizer {
		after.Finalizers = append(after.Finalizers, finalizer)
	}
	if err := c.patch(ctx, svc, after); err != nil {
		return err
	}
	expected := c.tracker.setWritten(svc)
	if !matches && !expected {
		c.log.Warn("status repaired", "service", service.Name(svc), "before", before, "addresses", addrs)
		c.events.Eventf(svc, v1.EventTypeWarning, "StatusRepaired", "The status said %s; this Service has %s", list(before), list(addrs))
	}
	if !hasFinalizer && !expected {
		c.log.Warn("finalizer restored", "service", service.Name(svc), "finalizer", finalizer)
		c.events.Eventf(svc, v1.EventTypeWarning, "FinalizerRestored", "The finalizer %s was missing and has been added again: it delays the deletion of this Service until its address is released", finalizer)
	}
	return nil
}

// patch writes the difference in status and finalizers. It fails with a conflict if the
// API server has another version of the Service than before. A Service that does not exist
// any more is not an error.
func (c *Cloud) patch(ctx context.Context, before, after *v1.Service) error {
	return patch(ctx, c.client, before, after)
}

func patch(ctx context.Context, client kubernetes.Interface, before, after *v1.Service) error {
	before = before.DeepCopy()
	before.UID, before.ResourceVersion = "", "" // so that the patch contains them, as preconditions
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
