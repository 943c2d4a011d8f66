package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// static is a static pod. Its name in the API has the name of the node after it.
const static = `
apiVersion: v1
kind: Pod
metadata: {name: static, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: nginx, image: "nginx:stable"}]
`

// twoContainers is a pod with two containers, and no controller.
const twoContainers = `
apiVersion: v1
kind: Pod
metadata: {name: two-containers, namespace: default}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers:
    - {name: nginx, image: "nginx:stable"}
    - {name: pause, image: "registry.k8s.io/e2e-test-images/agnhost:2.66.1"}
`

// wrongAlarms sets the pods of a node that lives to not ready, as the cluster manager does, and
// prints after how long its kubelet has set them to ready again.
func (b *bench) wrongAlarms(ctx context.Context) error {
	node := b.Nodes()[0]
	if err := node.StaticPod("static", static); err != nil {
		return err
	}
	two, err := b.write("two-containers.yaml", fmt.Sprintf(twoContainers, node.Name))
	if err != nil {
		return err
	}
	if _, err := b.Kubectl(ctx, "apply", "-f", two); err != nil {
		return err
	}
	if err := b.Wait(ctx, "the static pod", func() bool {
		_, err := b.Kubectl(ctx, "get", "pod", "static-"+node.Name)
		return err == nil
	}); err != nil {
		return err
	}
	if err := b.well(ctx); err != nil {
		return err
	}
	times := map[string][]time.Duration{} // by the kind of pod
	for i := range b.alarms {
		// Alarms come at every moment of the period of the kubelet.
		select {
		case <-time.After(time.Duration(1000+370*i%1000) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := b.wrongAlarm(ctx, node.Name, times); err != nil {
			return err
		}
	}
	fmt.Printf("a wrong alarm, %d times; the kubelet sets the condition Ready to True again after\n", b.alarms)
	for _, kind := range []string{"Deployment", "DaemonSet", "static pod", "no controller"} {
		if took := times[kind]; len(took) > 0 {
			slices.Sort(took)
			fmt.Printf("  %-14s median %5.1f s, longest %5.1f s\n", kind, took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
		}
	}
	_, err = b.Kubectl(ctx, "delete", "-f", two)
	return err
}

// wrongAlarm sets all pods of the node to not ready once, and adds the times.
func (b *bench) wrongAlarm(ctx context.Context, node string, times map[string][]time.Duration) error {
	list, err := b.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return err
	}
	waiting := map[types.UID]string{}
	begun := time.Now()
	for _, pod := range list.Items {
		patch := `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"BaremetalNodeDead","message":"a wrong alarm"}]}}`
		if _, err := b.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			return err
		}
		waiting[pod.UID] = kindOf(pod)
	}
	return b.Wait(ctx, "all pods to be ready again", func() bool {
		list, err := b.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
		if err != nil {
			return false
		}
		for _, pod := range list.Items {
			if kind, ok := waiting[pod.UID]; ok && isReady(pod) {
				times[kind] = append(times[kind], time.Since(begun))
				delete(waiting, pod.UID)
			}
		}
		return len(waiting) == 0
	})
}

func isReady(pod v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.PodReady && c.Status == v1.ConditionTrue })
}

// kindOf says what has made a pod.
func kindOf(pod v1.Pod) string {
	switch owner := metav1.GetControllerOf(&pod); {
	case pod.Annotations[v1.MirrorPodAnnotationKey] != "":
		return "static pod"
	case owner == nil:
		return "no controller"
	case owner.Kind == "ReplicaSet":
		return "Deployment"
	default:
		return owner.Kind
	}
}
