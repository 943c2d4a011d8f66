package configmap_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

const (
	good  = "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]"
	good2 = "address-pools: [{name: b, protocol: layer2, addresses: [10.0.0.0/24]}]"
	bad   = "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.9-10.0.0.1]}\n"
)

func TestWatcherKeepsTheLastGoodConfiguration(t *testing.T) {
	client := fake.NewSimpleClientset()
	states := make(chan configmap.State, 10)
	var out lockedBuffer
	w := configmap.NewWatcher(client, configmap.DefaultRef, slog.New(slog.NewTextHandler(&out, nil)), func(s configmap.State) { states <- s }, func() {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	api := client.CoreV1().ConfigMaps("baremetal-system")
	object := func(data map[string]string) *v1.ConfigMap {
		return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config"}, Data: data}
	}
	expect := func(step, pool, problem string) {
		t.Helper()
		select {
		case s := <-states:
			gotPool, gotProblem := "", ""
			if s.Config != nil {
				gotPool = s.Config.Pools[0].Name
			}
			if s.Problem != nil {
				gotProblem = s.Problem.Error()
			}
			if gotPool != pool || gotProblem != problem {
				t.Errorf("%s: pool %q problem %q, want %q and %q", step, gotPool, gotProblem, pool, problem)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: no new state", step)
		}
	}

	expect("at first", "", "the ConfigMap does not exist")
	<-w.Loaded()
	api.Create(ctx, object(map[string]string{"other": good}), metav1.CreateOptions{})
	expect("without the key", "", `the ConfigMap has no key "config" in its data`)
	api.Update(ctx, object(map[string]string{"config": good}), metav1.UpdateOptions{})
	expect("good", "a", "")
	api.Update(ctx, object(map[string]string{"config": bad}), metav1.UpdateOptions{})
	expect("bad", "a", `line 2: pool "a": addresses: range "10.0.0.9-10.0.0.1" is reversed: its start 10.0.0.9 is higher than its end 10.0.0.1`)
	labelled := object(map[string]string{"config": bad})
	labelled.Labels = map[string]string{"touched": "yes"}
	api.Update(ctx, labelled, metav1.UpdateOptions{}) // not a new state
	api.Update(ctx, object(map[string]string{"config": good2}), metav1.UpdateOptions{})
	expect("repaired", "b", "")
	api.Delete(ctx, "config", metav1.DeleteOptions{})
	expect("deleted", "b", "the ConfigMap was deleted")
	api.Create(ctx, object(map[string]string{"config": good}), metav1.CreateOptions{})
	expect("created again", "a", "")

	for _, want := range []string{"ConfigMap missing", "configuration refused", "the last good configuration stays in use", "line 2:", "the ConfigMap was deleted"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, out.String())
		}
	}
}

func TestRefIsAFlagValue(t *testing.T) {
	r := configmap.DefaultRef
	if err := r.Set("metallb-system/config"); err != nil || r.String() != "metallb-system/config" {
		t.Errorf("%v, %v", r, err)
	}
	for _, text := range []string{"", "config", "/config", "a/", "a/b/c"} {
		if err := r.Set(text); err == nil || r.String() != "metallb-system/config" {
			t.Errorf("%q: %v, %v", text, err, r)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
