package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// kubelet replaces the scheduler and all kubelets of light nodes. It gives pods without a
// node to the worker. For a pod with a node it starts a web server in the node's namespace,
// with addresses of its own on the node's loopback interface.
type kubelet struct {
	cluster *Cluster
	work    sync.WaitGroup
	queue   chan *v1.Pod

	next map[string]int     // the last pod number, by node
	web  map[string]*webPod // by the UID of the pod
}

type webPod struct {
	process *Process
	node    string
	n       int
}

func (c *Cluster) startKubelet(ctx context.Context) error {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k := &kubelet{cluster: c, queue: make(chan *v1.Pod, 1000), next: map[string]int{}, web: map[string]*webPod{}}
	c.kubelet = k
	factory := informers.NewSharedInformerFactory(c.Client, 0)
	pods := factory.Core().V1().Pods().Informer()
	handle := func(o any) {
		if pod, ok := o.(*v1.Pod); ok {
			select {
			case k.queue <- pod:
			case <-ctx.Done():
			}
		}
	}
	gone := func(o any) { // pods end at once, without a grace period
		if pod, ok := o.(*v1.Pod); ok {
			pod = pod.DeepCopy()
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
			handle(pod)
		}
	}
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, o any) { handle(o) }, DeleteFunc: gone}); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	factory.StartWithContext(ctx)
	k.work.Go(func() {
		defer factory.Shutdown()
		k.run(ctx)
	})
	return nil
}

func (k *kubelet) wait() { k.work.Wait() }

func (k *kubelet) run(ctx context.Context) {
	for {
		select {
		case pod := <-k.queue:
			if err := k.sync(ctx, pod); err != nil && ctx.Err() == nil {
				k.cluster.options.Say("pod %s: %v", pod.Name, err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (k *kubelet) sync(ctx context.Context, pod *v1.Pod) error {
	pods := k.cluster.Client.CoreV1().Pods(pod.Namespace)
	switch web := k.web[string(pod.UID)]; {
	case pod.DeletionTimestamp != nil:
		if web != nil {
			web.process.Kill()
			delete(k.web, string(pod.UID))
		}
		now := *metav1.NewDeleteOptions(0)
		now.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
		if err := pods.Delete(ctx, pod.Name, now); !apierrors.IsConflict(err) {
			return ignoreGone(err)
		}
		return nil // there is a new pod with that name
	case pod.Spec.NodeName == "":
		return ignoreBound(pods.Bind(ctx, &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: v1.ObjectReference{Kind: "Node", Name: "worker"}}, metav1.CreateOptions{}))
	case web == nil:
		return k.startPod(ctx, pod)
	}
	return nil
}

func (k *kubelet) startPod(ctx context.Context, pod *v1.Pod) error {
	node := k.cluster.Node(pod.Spec.NodeName)
	if node == nil {
		return fmt.Errorf("no node %q", pod.Spec.NodeName)
	}
	k.next[node.Name]++
	web := &webPod{node: node.Name, n: k.next[node.Name]}
	ipv4, ipv6 := podIPv4(node.n, web.n), podIPv6(node.n, web.n)
	err := ips("-n "+node.Name+" addr add "+ipv4+"/32 dev lo", "-n "+node.Name+" addr add "+ipv6+"/128 dev lo nodad")
	if err != nil {
		return err
	}
	if web.process, err = k.cluster.startEnv(roleEnv("web", ipv4, ipv6, pod.Name, node.Name), "pod-"+pod.Name, node.Name, self()); err != nil {
		return err
	}
	k.web[string(pod.UID)] = web
	ready := pod.DeepCopy()
	now := metav1.NewTime(time.Now())
	ready.Status.Phase, ready.Status.StartTime = v1.PodRunning, &now
	ready.Status.PodIP, ready.Status.PodIPs = ipv4, []v1.PodIP{{IP: ipv4}, {IP: ipv6}}
	ready.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}, {Type: v1.ContainersReady, Status: v1.ConditionTrue}}
	for _, container := range pod.Spec.Containers {
		ready.Status.ContainerStatuses = append(ready.Status.ContainerStatuses, v1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}}})
	}
	patch, err := json.Marshal(map[string]any{"status": ready.Status})
	if err != nil {
		return err
	}
	_, err = k.cluster.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return ignoreGone(err)
}

// ignoreBound ignores the error that the pod already has a node. The event of the pod was
// an old one then.
func ignoreBound(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return ignoreGone(err)
}

// ignoreGone ignores the error that the pod does not exist.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
