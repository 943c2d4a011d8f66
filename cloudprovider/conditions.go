package cloudprovider

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// The reasons of the condition Allocated, beside those of ipam.
const (
	// reasonAllocated: the Service has what it asks for.
	reasonAllocated = "Allocated"
	// reasonKept: the Service keeps its addresses, but does not get what it asks for.
	reasonKept = "Kept"
	// reasonOutsidePools: no pool would give the Service one of its addresses any more.
	reasonOutsidePools = "OutsidePools"
	// reasonWithheld: a foreign host has an address of the Service.
	reasonWithheld = "Withheld"
)

// reasonNotReady is the reason while the cluster manager cannot decide. Then the cluster
// manager writes no condition.
const reasonNotReady = "NotReady"

// maxMessage is the length of the longest message that the API server accepts.
const maxMessage = 32768

// allocatedCondition returns the condition Allocated of svc. addrs are its addresses,
// refusal is why it does not get what it asks for, or nil.
func (c *Cloud) allocatedCondition(svc *v1.Service, addrs []netip.Addr, orphans []ipam.Kept, refusal error) metav1.Condition {
	condition := metav1.Condition{Type: service.Allocated, Status: metav1.ConditionTrue, Reason: reasonAllocated, Message: c.withPools(addrs)}
	if name, err := service.Hostname(svc); err == nil && name != "" && len(addrs) > 0 {
		condition.Message += hostnameText(name)
	}
	switch {
	case refusal != nil && len(addrs) > 0:
		condition.Reason = reasonKept
		condition.Message += ". The Service does not get what it asks for: " + c.explain(refusal) + advice(refusal)
	case refusal != nil:
		condition.Status, condition.Reason = metav1.ConditionFalse, string(reasonOf(refusal))
		condition.Message = c.explain(refusal) + advice(refusal)
	case len(orphans) > 0:
		condition.Reason = reasonOutsidePools
		condition.Message += ". " + orphans[0].Why + ": the Service keeps the address until it is created anew or asks for another address"
	}
	condition.Message = cutMessage(condition.Message)
	return condition
}

func cutMessage(text string) string {
	if len(text) > maxMessage {
		return strings.ToValidUTF8(text[:maxMessage], "")
	}
	return text
}

// withheldCondition adds to a condition that addresses are withheld.
func withheldCondition(condition metav1.Condition, withheld map[netip.Addr]string) metav1.Condition {
	var texts []string
	for _, addr := range slices.SortedFunc(maps.Keys(withheld), netip.Addr.Compare) {
		texts = append(texts, fmt.Sprintf("%s is given to this Service, but it is %s", addr, withheld[addr]))
	}
	text := strings.Join(texts, "; ") + ". The status gets the address when that host is gone. Remove the address from it, or ask for another address"
	if condition.Message != "" {
		text += ". " + condition.Message
	}
	condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reasonWithheld, cutMessage(text)
	return condition
}

// hostnameText is the part of the message that names a hostname which the Service asks
// for. It distinguishes this hostname from a hostname that another controller has added.
func hostnameText(name string) string { return ", hostname " + name }

// advice returns what the owner of the Service or the operator can do about a refusal.
func advice(refusal error) string {
	switch reasonOf(refusal) {
	case ipam.Exhausted:
		return ". Add addresses to a pool, or delete a Service that has one"
	case ipam.Quota:
		return ". Delete another Service of this namespace, or ask the operator to raise max-per-namespace"
	case ipam.NoPool, ipam.Forbidden:
		return ". Ask for something else, or ask the operator to change the pools"
	case ipam.InUse:
		return ". Ask for another address, or for none"
	case ipam.Invalid:
		return ". Correct the Service"
	case ipam.Reserved:
		return ". Ask for another address, and ask the operator to take this one out of the pool"
	}
	return ""
}
