package deadnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// PodReason is the reason of the condition. The admission policy of the manifests names it.
const PodReason = "BaremetalNodeDead"

const (
	// writers is how many statuses are written at the same time.
	writers = 20
	// attempts is how often a write is tried, with retryWrite between two attempts.
	attempts   = 3
	retryWrite = 200 * time.Millisecond
)

// marker sets the condition Ready of the pods of a node to False.
type marker struct {
	client kubernetes.Interface
	// dead reports whether the node is still dead. It is asked before each pod.
	dead func() bool
}

var errAlive = errors.New("the speakers call the node alive again")

// mark marks all pods of a node whose condition Ready is True, also those of DaemonSets and
// static pods, as upstream's node controller does. The error joins those of the pods that
// failed.
func (m marker) mark(ctx context.Context, node, text string) (marked, failed int, err error) {
	pods, err := m.list(ctx, node)
	if err != nil {
		return 0, 0, err
	}
	patchOf := func(pod *v1.Pod) ([]byte, error) { return readyFalse(pod.UID, metav1.Now(), message(node, text)) }
	var mu sync.Mutex
	var errs []error
	queue := make(chan *v1.Pod)
	var wg sync.WaitGroup
	for range min(writers, len(pods)) {
		wg.Go(func() {
			for pod := range queue {
				done, err := m.write(ctx, pod, patchOf)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else if done {
					marked++
				}
				mu.Unlock()
			}
		})
	}
	alive := false
	for _, pod := range pods {
		if alive = !m.dead(); alive {
			break
		}
		queue <- pod
	}
	close(queue)
	wg.Wait()
	failed = len(errs)
	if alive {
		return marked, failed, errAlive
	}
	return marked, failed, errors.Join(errs[:min(3, failed)]...)
}

// list returns the pods of a node that are ready. The API server answers from its cache, which
// is a few milliseconds old at most, and has an index by node. A watch of all pods would cost
// memory, for which there is no need: a node dies seldom.
func (m marker) list(ctx context.Context, node string) (ready []*v1.Pod, err error) {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(), ResourceVersion: "0"}
	for attempt := range attempts {
		if attempt > 0 {
			m.pause(ctx)
		}
		limited, cancel := context.WithTimeout(ctx, apiTimeout)
		var list *v1.PodList
		list, err = m.client.CoreV1().Pods(metav1.NamespaceAll).List(limited, options)
		cancel()
		if err != nil {
			continue
		}
		for i := range list.Items {
			if pod := &list.Items[i]; pod.Spec.NodeName == node && isReady(pod) {
				ready = append(ready, pod)
			}
		}
		return ready, nil
	}
	return nil, fmt.Errorf("listing the pods of node %s: %w", node, err)
}

// isReady reports whether the condition Ready of a pod is True. Pods that have ended are not.
func isReady(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.PodReady && c.Status == v1.ConditionTrue
	})
}

// write writes the condition of one pod. done is false if the pod does not exist any more.
func (m marker) write(ctx context.Context, pod *v1.Pod, patchOf func(*v1.Pod) ([]byte, error)) (done bool, err error) {
	patch, err := patchOf(pod)
	if err != nil {
		return false, err
	}
	for attempt := range attempts {
		if attempt > 0 {
			m.pause(ctx)
		}
		limited, cancel := context.WithTimeout(ctx, apiTimeout)
		_, err = m.client.CoreV1().Pods(pod.Namespace).Patch(limited, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		cancel()
		switch {
		case err == nil:
			return true, nil
		case apierrors.IsNotFound(err), isReplaced(err):
			return false, nil
		case apierrors.IsForbidden(err), apierrors.IsInvalid(err): // another attempt does not help
			return false, fmt.Errorf("setting pod %s/%s to not ready: %w", pod.Namespace, pod.Name, err)
		}
	}
	return false, fmt.Errorf("setting pod %s/%s to not ready: %w", pod.Namespace, pod.Name, err)
}

// isReplaced reports whether the API server has refused a patch because the pod has another UID:
// there is a new pod with the same name.
func isReplaced(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return apierrors.IsConflict(err)
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

func (m marker) pause(ctx context.Context) {
	select {
	case <-time.After(retryWrite):
	case <-ctx.Done():
	}
}

// readyFalse returns the strategic merge patch of a pod's status that sets the condition Ready
// to False. It changes nothing else: conditions are merged by their type. The UID is a
// precondition, so that a new pod with the same name is not changed.
func readyFalse(uid types.UID, at metav1.Time, message string) ([]byte, error) {
	type condition struct {
		Type               v1.PodConditionType `json:"type"`
		Status             v1.ConditionStatus  `json:"status"`
		Reason             string              `json:"reason"`
		Message            string              `json:"message"`
		LastTransitionTime metav1.Time         `json:"lastTransitionTime"`
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status":   map[string]any{"conditions": []condition{{v1.PodReady, v1.ConditionFalse, PodReason, message, at}}},
	})
	if err != nil {
		return nil, fmt.Errorf("making the patch of a pod: %w", err)
	}
	return patch, nil
}
