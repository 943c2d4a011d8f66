package cloudprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// status returns the status that svc should have with these addresses. It always sets
// ipMode. The API server would set the default VIP, but upstream compares the status before
// that, and would patch it again and again.
//
// Other controllers may add a hostname: to an address, or as an entry without an address.
// This hostname stays, unless svc asks for another one. A hostname that svc has asked for is
// removed when svc does not ask for it any more.
func status(svc *v1.Service, addrs []netip.Addr) *v1.LoadBalancerStatus {
	mode, invalidMode := service.IPMode(svc)
	asked, invalidName := service.Hostname(svc)
	s := &v1.LoadBalancerStatus{}
	for _, addr := range addrs {
		entry := v1.LoadBalancerIngress{IP: addr.String(), IPMode: &mode}
		for _, is := range svc.Status.LoadBalancer.Ingress {
			if is.IP != entry.IP {
				continue
			}
			entry.Hostname, entry.Ports = is.Hostname, is.Ports
			if invalidMode != nil && is.IPMode != nil { // request reports the error, and nothing changes
				entry.IPMode = is.IPMode
			}
		}
		if invalidName == nil && (asked != "" || askedFor(svc, entry.Hostname)) {
			entry.Hostname = asked
		}
		s.Ingress = append(s.Ingress, entry)
	}
	for _, is := range svc.Status.LoadBalancer.Ingress {
		if is.IP == "" && is.Hostname != "" && len(addrs) > 0 {
			s.Ingress = append(s.Ingress, is)
		}
	}
	return s
}

// askedFor reports whether svc asked for the hostname when its condition was written.
func askedFor(svc *v1.Service, hostname string) bool {
	has := service.Condition(svc, service.Allocated)
	return hostname != "" && has != nil && strings.Contains(has.Message+". ", hostnameText(hostname)+". ")
}

// statusMatches reports whether the status of svc is the one that it should have.
func statusMatches(svc *v1.Service, addrs []netip.Addr) bool {
	has, want := svc.Status.LoadBalancer.Ingress, status(svc, addrs).Ingress
	return slices.EqualFunc(has, want, func(a, b v1.LoadBalancerIngress) bool {
		return a.IP == b.IP && a.Hostname == b.Hostname && (a.IPMode == nil || b.IPMode != nil && *a.IPMode == *b.IPMode)
	})
}

// inSync reports whether there is nothing to write: the status is what was decided, and a
// Service with an address has a finalizer.
func inSync(svc *v1.Service, o outcome) bool {
	return statusMatches(svc, o.addrs) && conditionsMatch(svc, o) &&
		(len(o.addrs) == 0 || service.HasCleanupFinalizer(svc))
}

// conditionsMatch reports whether svc has the condition that was decided, and none about
// addresses that it does not have.
func conditionsMatch(svc *v1.Service, o outcome) bool {
	return service.SameCondition(svc, o.condition) && (len(o.addrs)+len(o.withheld) > 0 || !hasSpeakerConditions(svc))
}

// writeStatus writes what was decided to the status of svc, and adds the finalizer, all in
// one request. It reports a status or finalizer that was changed from outside.
//
// It fails with a conflict if the API server has another version of the Service, unless the
// finalizer is empty: then the caller is upstream's service controller, which has just added
// its finalizer and has not seen the new version yet.
func (c *Cloud) writeStatus(ctx context.Context, svc *v1.Service, o outcome, finalizer string) error {
	matches, hasFinalizer := statusMatches(svc, o.addrs), finalizer == "" || slices.Contains(svc.Finalizers, finalizer)
	if matches && conditionsMatch(svc, o) && (hasFinalizer || len(o.addrs) == 0) {
		c.tracker.setWritten(svc, o.addrs)
		return nil
	}
	before := service.VIPs(svc)
	after := svc.DeepCopy()
	if !matches {
		after.Status.LoadBalancer = *status(svc, o.addrs)
	}
	setCondition(after, service.WithTransition(svc, o.condition, metav1.Now()))
	if len(o.addrs)+len(o.withheld) == 0 {
		// No speaker removes or updates the conditions of a Service without addresses.
		dropSpeakerConditions(after)
	}
	if !hasFinalizer && len(o.addrs) > 0 {
		after.Finalizers = append(after.Finalizers, finalizer)
	}
	if err := patch(ctx, c.client, svc, after, finalizer != ""); err != nil {
		return err
	}
	expected := c.tracker.setWritten(svc, o.addrs) || finalizer == "" // upstream has not seen its own last write yet
	if !matches && !expected {
		c.log.Warn("status repaired", "service", service.Name(svc), "before", before, "addresses", o.addrs)
		c.events.Eventf(svc, v1.EventTypeWarning, "StatusRepaired", "The status said %s; this Service has %s", list(before), list(o.addrs))
	}
	if !hasFinalizer && len(o.addrs) > 0 && !expected {
		c.log.Warn("finalizer restored", "service", service.Name(svc), "finalizer", finalizer)
		c.events.Eventf(svc, v1.EventTypeWarning, "FinalizerRestored", "The finalizer %s was missing and has been added again: it delays the deletion of this Service until its address is released", finalizer)
	}
	return nil
}

func setCondition(svc *v1.Service, condition metav1.Condition) {
	if has := service.Condition(svc, condition.Type); has != nil {
		*has = condition
		return
	}
	svc.Status.Conditions = append(svc.Status.Conditions, condition)
}

// dropConditions removes the conditions of this project.
func dropConditions(svc *v1.Service) {
	dropCondition(svc, service.Allocated)
	dropSpeakerConditions(svc)
}

// dropSpeakerConditions removes the conditions that speakers write.
func dropSpeakerConditions(svc *v1.Service) {
	dropCondition(svc, service.Announced)
	dropCondition(svc, service.SpreadCondition)
}

// hasConditions reports whether svc has a condition of this project.
func hasConditions(svc *v1.Service) bool {
	return service.Condition(svc, service.Allocated) != nil || hasSpeakerConditions(svc)
}

// hasSpeakerConditions reports whether svc has a condition that a speaker writes.
func hasSpeakerConditions(svc *v1.Service) bool {
	return service.Condition(svc, service.Announced) != nil || service.Condition(svc, service.SpreadCondition) != nil
}

func dropCondition(svc *v1.Service, conditionType string) {
	svc.Status.Conditions = slices.DeleteFunc(svc.Status.Conditions, func(c metav1.Condition) bool { return c.Type == conditionType })
}

// patch writes the difference in status and finalizers. The API server refuses it as invalid
// if it has another Service of this name, and with exact as a conflict if it has another
// version of the Service than before. A Service that does not exist any more is not an error.
func patch(ctx context.Context, client kubernetes.Interface, before, after *v1.Service, exact bool) error {
	before = before.DeepCopy()
	before.UID = "" // so that the patch contains it, as a precondition
	if exact {
		before.ResourceVersion = ""
	}
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
