package reconcile

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"regexp"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// A speaker that runs removes the time from its node. So the time is written once, also if the two speakers do not hear
// each other.
func TestSpeakerWritesOnceThatAnotherHasLeft(t *testing.T) {
	ctx, ref := t.Context(), configmap.DefaultRef
	client := fake.NewSimpleClientset()
	api := client.CoreV1().ConfigMaps(ref.Namespace)
	spread := configmap.NodeLinks{Spread: []configmap.SpreadLink{{Name: "eth0", MACs: []string{"02:00:00:00:00:01"}}}}
	left := spread
	left.Left = time.Unix(1000, 0).UTC()
	encoded := func(links configmap.NodeLinks) string {
		text, err := json.Marshal(links)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.NodeLinks()}, Data: map[string]string{"other": encoded(spread)}}
	if _, err := api.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	news := make(chan struct{}, 10)
	config := configmap.NewWatcher(client, ref, slog.New(slog.DiscardHandler), func(configmap.State) {}, func() { news <- struct{}{} })
	done := make(chan error)
	go func() { done <- config.Run(ctx) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-config.Loaded()
	n := NewNodeLinks("self", client, ref, config, regexp.MustCompile("^$"), func() bool { return true }, slog.New(slog.DiscardHandler))
	n.SetLeft(map[string]time.Time{"other": time.Unix(1000, 5)})
	isRead := func(want configmap.NodeLinks) {
		t.Helper()
		for !reflect.DeepEqual(config.Nodes()["other"], want) {
			select {
			case <-news:
			case <-time.After(20 * time.Second):
				t.Fatalf("the other node is %+v, want %+v", config.Nodes()["other"], want)
			}
		}
	}

	isRead(spread)
	if err := n.write(ctx); err != nil {
		t.Fatal(err)
	}
	isRead(left)
	if _, ok := config.Nodes()["self"]; !ok {
		t.Error("the own node is missing")
	}

	written, err := api.Get(ctx, ref.NodeLinks(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	written.Data["other"] = encoded(spread) // its speaker runs
	if _, err := api.Update(ctx, written, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	isRead(spread)
	client.ClearActions()
	if err := n.write(ctx); err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions() {
		if patch, ok := a.(clienttesting.PatchAction); ok {
			t.Errorf("it was written again: %s", patch.GetPatch())
		}
	}
}
