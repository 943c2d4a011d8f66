package deadnodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	restclient "k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"
)

func TestMarkChangesOnlyTheConditionReady(t *testing.T) {
	before := pod("a", "node1", v1.ConditionTrue)
	before.Labels = map[string]string{"app": "web"}
	before.Status.PodIP, before.Status.ContainerStatuses = "10.0.0.1", []v1.ContainerStatus{{Name: "one", Ready: true}, {Name: "two", Ready: true}}
	daemon, mirror := pod("daemon", "node1", v1.ConditionTrue), pod("mirror", "node1", v1.ConditionTrue)
	daemon.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "d"}}
	mirror.Annotations = map[string]string{v1.MirrorPodAnnotationKey: "x"}
	client := fake.NewClientset(before.DeepCopy(), daemon, mirror, pod("ended", "node1", v1.ConditionFalse), pod("elsewhere", "node2", v1.ConditionTrue),
		&v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new"}, Spec: v1.PodSpec{NodeName: "node1"}})
	var selected string
	client.PrependReactor("list", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		selected = a.(k8stesting.ListAction).GetListRestrictions().Fields.String()
		return false, nil, nil
	})
	marked, failed, err := marker{client, isDead}.mark(t.Context(), "node1", "The facts.")
	if marked != 3 || failed != 0 || err != nil || selected != "spec.nodeName=node1" {
		t.Fatalf("marked %d, failed %d, selected %q: %v", marked, failed, selected, err)
	}
	after, err := client.CoreV1().Pods("default").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &after.Status.Conditions[2]
	if c.Status != v1.ConditionFalse || c.Reason != "BaremetalNodeDead" || time.Since(c.LastTransitionTime.Time) > time.Minute ||
		c.Message != "Node node1 is dead. The facts. The kubelet sets this condition again if it lives." {
		t.Errorf("%+v", c)
	}
	*c = before.Status.Conditions[2]
	if before.ManagedFields, after.ManagedFields = nil, nil; !reflect.DeepEqual(before, after) {
		t.Errorf("before\n%+v\nafter\n%+v", before, after)
	}
	for name, want := range map[string]v1.ConditionStatus{"daemon": v1.ConditionFalse, "mirror": v1.ConditionFalse, "elsewhere": v1.ConditionTrue} {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || p.Status.Conditions[2].Status != want {
			t.Errorf("%s: %+v, %v", name, p.Status.Conditions, err)
		}
	}
}

func isDead() bool { return true }

func TestMarkStopsWhenTheNodeIsAliveAgain(t *testing.T) {
	var patches atomic.Int64
	client := hundreds(400, func(string) error { patches.Add(1); return nil })
	marked, failed, err := marker{client, func() bool { return patches.Load() < 50 }}.mark(t.Context(), "node1", "x")
	if marked < 50 || marked > 50+2*writers || failed != 0 || !errors.Is(err, errAlive) || int(patches.Load()) != marked {
		t.Errorf("marked %d, failed %d, %d patches: %v", marked, failed, patches.Load(), err)
	}
}

func TestPatchHasTheUIDAsAPrecondition(t *testing.T) {
	text, err := readyFalse("uid-a", metav1.Unix(0, 0), "m")
	var patch struct {
		Metadata map[string]string
		Status   map[string][]map[string]string
	}
	if err != nil || json.Unmarshal(text, &patch) != nil || len(patch.Metadata) != 1 || patch.Metadata["uid"] != "uid-a" || len(patch.Status) != 1 || len(patch.Status["conditions"]) != 1 {
		t.Errorf("%s, %v", text, err)
	}
}

// hundreds returns a client with n ready pods on node1, whose API server calls patch for each
// attempt to write one of them.
func hundreds(n int, patch func(name string) error) *fake.Clientset {
	var objects []runtime.Object
	for i := range n {
		objects = append(objects, pod(fmt.Sprint("pod", i), "node1", v1.ConditionTrue))
	}
	client := fake.NewClientset(objects...)
	client.PrependReactor("patch", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if err := patch(a.(k8stesting.PatchAction).GetName()); err != nil {
			return true, nil, err
		}
		return true, &v1.Pod{}, nil
	})
	return client
}

var errAway = errors.New("the API server is away")

func TestPodsAreMarkedInSpiteOfFailures(t *testing.T) {
	resource := schema.GroupResource{Resource: "pods"}
	var first, forbidden atomic.Int64
	client := hundreds(400, func(name string) error {
		switch {
		case name == "pod1":
			return apierrors.NewNotFound(resource, name)
		case name == "pod2":
			return apierrors.NewConflict(resource, name, errors.New("the UID differs"))
		case name == "pod6":
			return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, name, field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), "x", "field is immutable")})
		case name == "pod7":
			return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, name, field.ErrorList{field.Invalid(field.NewPath("status"), "x", "is wrong")})
		case name == "pod3" && first.Add(1) == 1:
			return errAway
		case name == "pod4":
			return errAway
		case name == "pod5":
			forbidden.Add(1)
			return apierrors.NewForbidden(resource, name, errors.New("the policy"))
		}
		return nil
	})
	marked, failed, err := marker{client, isDead}.mark(t.Context(), "node1", "x")
	if marked != 394 || failed != 3 || !errors.Is(err, errAway) || !strings.Contains(err.Error(), "default/pod5") || forbidden.Load() != 1 {
		t.Errorf("marked %d, failed %d after %d forbidden attempts: %v", marked, failed, forbidden.Load(), err)
	}
	client.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, errAway })
	if marked, _, err := (marker{client, isDead}).mark(t.Context(), "node1", "x"); marked != 0 || !errors.Is(err, errAway) {
		t.Errorf("marked %d without a list: %v", marked, err)
	}
}

// The API server answers the first patch only when all writers have sent one.
func TestPodsAreMarkedInParallel(t *testing.T) {
	var waiting sync.WaitGroup
	waiting.Add(writers)
	var patches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = &v1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}}
		switch r.Method {
		case http.MethodGet:
			list := &v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
			for i := range 5 * writers {
				list.Items = append(list.Items, *pod(fmt.Sprint("pod", i), "node1", v1.ConditionTrue))
			}
			answer = list
		case http.MethodPatch:
			if patches.Add(1) <= writers {
				waiting.Done()
				waiting.Wait()
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // fails only if the client has gone
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&restclient.Config{Host: server.URL, QPS: 1000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	marked, failed, err := marker{client, isDead}.mark(t.Context(), "node1", "x")
	if marked != 5*writers || failed != 0 || err != nil || patches.Load() != 5*writers {
		t.Errorf("marked %d, failed %d, %d patches: %v", marked, failed, patches.Load(), err)
	}
}
