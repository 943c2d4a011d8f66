package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

const (
	// conditionsPerSecond limits the writes after a failover, when all Services of a node
	// get another owner at once.
	conditionsPerSecond, conditionsBurst = 100, 200
	// insistAfter is how long this speaker waits before it writes again what another speaker
	// has overwritten. Two speakers that do not hear each other should not write all the time.
	insistAfter = 10 * time.Second
	// policyEvery is how often a speaker looks for the policy.
	policyEvery = time.Minute
	// restBeforeCount is how long the number of nodes must stay the same before it is written.
	// While the speakers are replaced one after the other, it changes for every Service.
	restBeforeCount = 30 * time.Second
)

// Conditions says whether speakers write conditions.
type Conditions string

// The values of --service-conditions.
const (
	// ConditionsAuto writes if the API server has the policy service.PolicyName.
	ConditionsAuto Conditions = "auto"
	ConditionsOn   Conditions = "true"
	ConditionsOff  Conditions = "false"
)

// StatusWriter writes the conditions Announced and Spread to Services.
type StatusWriter struct {
	client kubernetes.Interface
	mode   Conditions
	log    *slog.Logger
	// service returns the Service namespace/name from the cache, or nil.
	service func(name string) *v1.Service

	mu      sync.Mutex
	allowed bool
	wanted  map[string]conditions // by namespace/name: what to write
	queue   []string              // the names of wanted, in order
	written map[string]writtenConditions
	counts  map[string]nodeCount // by namespace/name
	wake    signal.Signal

	looked bool // for the policy; only for Run
}

// conditions are all conditions that the speakers write to a Service.
type conditions []metav1.Condition

type writtenConditions struct {
	conditions conditions
	at         time.Time
}

// nodeCount is how many nodes advertise a Service over BGP, and what is said of its spread, and since
// when both have been the same.
type nodeCount struct {
	nodes  int
	spread string
	since  time.Time
}

// NewStatusWriter returns a StatusWriter. find returns a Service from the cache, or nil.
func NewStatusWriter(client kubernetes.Interface, mode Conditions, find func(name string) *v1.Service, log *slog.Logger) *StatusWriter {
	return &StatusWriter{
		client: client, mode: mode, log: log, service: find, allowed: mode == ConditionsOn,
		wanted: map[string]conditions{}, written: map[string]writtenConditions{}, wake: signal.New(),
	}
}

// Enabled reports whether conditions are written.
func (w *StatusWriter) Enabled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.allowed
}

// Set makes announcements the conditions that this speaker writes. It forgets the Services
// that this speaker does not speak for any more. It does not wait.
func (w *StatusWriter) Set(announcements []plan.Announcement, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := make(map[string]conditions, len(w.wanted))
	written := make(map[string]writtenConditions, len(announcements))
	counts := make(map[string]nodeCount, len(announcements))
	for _, a := range announcements {
		svc := w.service(a.Service)
		all := conditionsOf(a)
		count, counted := w.counts[a.Service]
		if said := spreadMessage(a); !counted || count.nodes != a.Nodes || count.spread != said {
			count = nodeCount{a.Nodes, said, now}
		}
		counts[a.Service] = count
		last, wrote := w.written[a.Service]
		if wrote {
			written[a.Service] = last
		}
		if svc == nil || all.areOn(svc) {
			continue
		}
		if wrote && slices.Equal(last.conditions, all) && now.Sub(last.at) < insistAfter {
			continue // the cache does not have it yet, or another speaker has overwritten it
		}
		if now.Sub(count.since) < restBeforeCount && onlyCountsDiffer(svc, a, all) {
			continue // they may change again soon
		}
		if _, queued := w.wanted[a.Service]; !queued {
			w.queue = append(w.queue, a.Service)
		}
		wanted[a.Service] = all
	}
	w.wanted, w.written, w.counts = wanted, written, counts
	if len(wanted) > 0 {
		w.wake.Set()
	}
}

func spreadMessage(a plan.Announcement) string {
	if a.Spread == nil {
		return ""
	}
	return a.Spread.Message
}

// onlyCountsDiffer reports whether only numbers of nodes are new in the conditions.
func onlyCountsDiffer(svc *v1.Service, a plan.Announcement, all conditions) bool {
	if announced := service.Condition(svc, service.Announced); a.Nodes == 0 && !service.SameCondition(svc, all[0]) || announced == nil || announced.Reason != a.Reason {
		return false
	}
	spread := service.Condition(svc, service.SpreadCondition)
	return (spread == nil) == (a.Spread == nil) && (spread == nil || spread.Reason == a.Spread.Reason)
}

func conditionsOf(a plan.Announcement) conditions {
	all := conditions{conditionOf(service.Announced, a.OK, a.Reason, a.Message)}
	if a.Spread != nil {
		all = append(all, conditionOf(service.SpreadCondition, a.Spread.OK, a.Spread.Reason, a.Spread.Message))
	}
	return all
}

func conditionOf(kind string, ok bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if ok {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// areOn reports whether the Service has these conditions already, and no other one of the speakers.
func (c conditions) areOn(svc *v1.Service) bool {
	for _, want := range c {
		if !service.SameCondition(svc, want) {
			return false
		}
	}
	return slices.ContainsFunc(c, func(w metav1.Condition) bool { return w.Type == service.SpreadCondition }) == (service.Condition(svc, service.SpreadCondition) != nil)
}

// Run writes until ctx ends. It returns nil.
func (w *StatusWriter) Run(ctx context.Context) error {
	limiter := rate.NewLimiter(conditionsPerSecond, conditionsBurst)
	policy := time.NewTicker(policyEvery)
	defer policy.Stop()
	w.lookForPolicy(ctx)
	for {
		select {
		case <-w.wake.C():
		case <-policy.C:
			w.lookForPolicy(ctx)
			continue
		case <-ctx.Done():
			return nil
		}
		for name, all, ok := w.next(); ok; name, all, ok = w.next() {
			if limiter.Wait(ctx) != nil {
				return nil
			}
			if err := w.write(ctx, name, all); err != nil && ctx.Err() == nil {
				w.log.Warn("writing conditions failed, trying again", "service", name, "error", err)
			}
		}
	}
}

// lookForPolicy finds out whether conditions may be written, unless the flag says it. It logs
// the first result, and every change.
func (w *StatusWriter) lookForPolicy(ctx context.Context) {
	if w.mode != ConditionsAuto {
		return
	}
	_, err := w.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, service.PolicyName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) && w.looked {
		return // the API server has not answered the question, so the last result stays
	}
	w.mu.Lock()
	before := w.allowed
	w.allowed = err == nil
	w.mu.Unlock()
	if before != (err == nil) || !w.looked {
		if err == nil {
			w.log.Info("conditions are written, because the admission policy was found", "policy", service.PolicyName, "condition", service.Announced)
		} else {
			w.log.Warn("conditions are not written, because the admission policy was not found", "policy", service.PolicyName, "condition", service.Announced, "error", err)
		}
	}
	w.looked = true
}

// next takes the next Service from the queue.
func (w *StatusWriter) next() (name string, all conditions, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		name, w.queue = w.queue[0], w.queue[1:]
		if all, ok = w.wanted[name]; ok {
			delete(w.wanted, name)
			w.written[name] = writtenConditions{all, time.Now()}
			return name, all, true
		}
	}
	return "", nil, false
}

// write applies the conditions. One that the speakers wrote before and that is not among them is removed. Other
// fields of the Service, and conditions of other types, do not belong to the speakers.
func (w *StatusWriter) write(ctx context.Context, name string, all conditions) error {
	svc := w.service(name)
	if svc == nil || len(service.VIPs(svc)) == 0 {
		return nil // it was deleted, or has no address any more
	}
	dated := make(conditions, len(all))
	for i, c := range all {
		dated[i] = service.WithTransition(svc, c, metav1.Now())
	}
	apply, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": svc.Name, "namespace": svc.Namespace, "uid": svc.UID},
		"status":   map[string]any{"conditions": dated},
	})
	if err != nil {
		return fmt.Errorf("encoding conditions: %w", err)
	}
	force := true
	_, err = w.client.CoreV1().Services(svc.Namespace).Patch(ctx, svc.Name, types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "baremetal-speaker", Force: &force}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) { // it was deleted, or is another Service of this name
		return nil
	}
	return err
}
