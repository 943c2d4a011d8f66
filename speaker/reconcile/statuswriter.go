package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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

// Conditions says whether speakers write the condition Announced.
type Conditions string

// The values of --service-conditions.
const (
	// ConditionsAuto writes if the API server has the policy service.PolicyName.
	ConditionsAuto Conditions = "auto"
	ConditionsOn   Conditions = "true"
	ConditionsOff  Conditions = "false"
)

// StatusWriter writes the condition Announced to Services.
type StatusWriter struct {
	client kubernetes.Interface
	mode   Conditions
	log    *slog.Logger
	// service returns the Service namespace/name from the cache, or nil.
	service func(name string) *v1.Service

	mu      sync.Mutex
	allowed bool
	wanted  map[string]metav1.Condition // by namespace/name: the conditions to write
	queue   []string                    // the names of wanted, in order
	written map[string]writtenCondition
	counts  map[string]nodeCount // by namespace/name
	wake    signal.Signal

	looked bool // for the policy; only for Run
}

type writtenCondition struct {
	condition metav1.Condition
	at        time.Time
}

// nodeCount is a number of nodes, and since when it has been the same.
type nodeCount struct {
	nodes int
	since time.Time
}

// NewStatusWriter returns a StatusWriter. find returns a Service from the cache, or nil.
func NewStatusWriter(client kubernetes.Interface, mode Conditions, find func(name string) *v1.Service, log *slog.Logger) *StatusWriter {
	return &StatusWriter{
		client: client, mode: mode, log: log, service: find, allowed: mode == ConditionsOn,
		wanted: map[string]metav1.Condition{}, written: map[string]writtenCondition{}, wake: signal.New(),
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
	wanted := make(map[string]metav1.Condition, len(w.wanted))
	written := make(map[string]writtenCondition, len(announcements))
	counts := make(map[string]nodeCount, len(announcements))
	for _, a := range announcements {
		svc := w.service(a.Service)
		condition := conditionOf(a)
		count, counted := w.counts[a.Service]
		if !counted || count.nodes != a.Nodes {
			count = nodeCount{a.Nodes, now}
		}
		counts[a.Service] = count
		last, wrote := w.written[a.Service]
		if wrote {
			written[a.Service] = last
		}
		if svc == nil || service.SameCondition(svc, condition) {
			continue
		}
		if wrote && last.condition == condition && now.Sub(last.at) < insistAfter {
			continue // the cache does not have it yet, or another speaker has overwritten it
		}
		if has := service.Condition(svc, service.Announced); a.Nodes > 0 && has != nil && has.Reason == condition.Reason && now.Sub(count.since) < restBeforeCount {
			continue // only the number of nodes is new, and it may change again soon
		}
		if _, queued := w.wanted[a.Service]; !queued {
			w.queue = append(w.queue, a.Service)
		}
		wanted[a.Service] = condition
	}
	w.wanted, w.written, w.counts = wanted, written, counts
	if len(wanted) > 0 {
		w.wake.Set()
	}
}

func conditionOf(a plan.Announcement) metav1.Condition {
	c := metav1.Condition{Type: service.Announced, Status: metav1.ConditionFalse, Reason: a.Reason, Message: a.Message}
	if a.OK {
		c.Status = metav1.ConditionTrue
	}
	return c
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
		for name, condition, ok := w.next(); ok; name, condition, ok = w.next() {
			if limiter.Wait(ctx) != nil {
				return nil
			}
			if err := w.write(ctx, name, condition); err != nil && ctx.Err() == nil {
				w.log.Warn("writing a condition failed, trying again", "service", name, "condition", service.Announced, "error", err)
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
func (w *StatusWriter) next() (name string, condition metav1.Condition, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		name, w.queue = w.queue[0], w.queue[1:]
		if condition, ok = w.wanted[name]; ok {
			delete(w.wanted, name)
			w.written[name] = writtenCondition{condition, time.Now()}
			return name, condition, true
		}
	}
	return "", metav1.Condition{}, false
}

// write applies the condition. Other fields of the Service, and conditions of other types,
// do not belong to the speakers.
func (w *StatusWriter) write(ctx context.Context, name string, condition metav1.Condition) error {
	svc := w.service(name)
	if svc == nil || len(service.VIPs(svc)) == 0 {
		return nil // it was deleted, or has no address any more
	}
	apply, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": svc.Name, "namespace": svc.Namespace, "uid": svc.UID},
		"status":   map[string]any{"conditions": []metav1.Condition{service.WithTransition(svc, condition, metav1.Now())}},
	})
	if err != nil {
		return fmt.Errorf("encoding a condition: %w", err)
	}
	force := true
	_, err = w.client.CoreV1().Services(svc.Namespace).Patch(ctx, svc.Name, types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "baremetal-speaker", Force: &force}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) { // it was deleted, or is another Service of this name
		return nil
	}
	return err
}
