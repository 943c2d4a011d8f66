package configmap_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func object(name string, data map[string]string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: name, UID: "uid", ResourceVersion: "7"}, Data: data}
}

// watched runs a Watcher until it has loaded the objects, and calls test.
func watched(t *testing.T, objects []*v1.ConfigMap, test func(w *configmap.Watcher, client *fake.Clientset)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset()
		for _, o := range objects {
			if err := client.Tracker().Add(o); err != nil {
				t.Fatal(err)
			}
		}
		w := configmap.NewWatcher(client, configmap.DefaultRef, slog.New(slog.DiscardHandler), func(configmap.State) {}, func() {})
		done := make(chan error)
		go func() { done <- w.Run(t.Context()) }()
		t.Cleanup(func() {
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		<-w.Loaded()
		test(w, client)
	})
}

func TestPublishedConfigurationIsUsedAtTheStartIfThereIsNoGoodOne(t *testing.T) {
	inUse := object("config-in-use", map[string]string{"config": good, "orphans": `[{"protocol":"bgp","addresses":[{"address":"10.9.0.1","services":["x"]}]}]`})
	for name, test := range map[string]struct {
		objects   []*v1.ConfigMap
		pool      string
		problem   bool
		fromInUse bool
	}{
		"a good one":            {objects: []*v1.ConfigMap{inUse, object("config", map[string]string{"config": good2})}, pool: "b"},
		"a refused one":         {objects: []*v1.ConfigMap{inUse, object("config", map[string]string{"config": bad})}, pool: "a", problem: true, fromInUse: true},
		"none":                  {objects: []*v1.ConfigMap{inUse}, pool: "a", problem: true, fromInUse: true},
		"none, and no other":    {problem: true},
		"an unreadable other":   {objects: []*v1.ConfigMap{object("config-in-use", map[string]string{"config": bad})}, problem: true},
		"another ConfigMap too": {objects: []*v1.ConfigMap{object("kube-root-ca.crt", nil), object("config", map[string]string{"config": good2})}, pool: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, test.objects, func(w *configmap.Watcher, _ *fake.Clientset) {
				s := w.State()
				pool := ""
				if s.Config != nil {
					pool = s.Config.Pools[0].Name
				}
				if pool != test.pool || (s.Problem != nil) != test.problem || test.fromInUse && s.Hash != w.InUse().Hash {
					t.Errorf("pool %q, problem %v, hash %q", pool, s.Problem, s.Hash)
				}
			})
		})
	}
}

func TestAnnotationChangesOnlyTheResourceVersion(t *testing.T) {
	watched(t, []*v1.ConfigMap{object("config", map[string]string{"config": good})}, func(w *configmap.Watcher, client *fake.Clientset) {
		before := w.State()
		annotated := object("config", map[string]string{"config": good})
		annotated.ResourceVersion, annotated.Annotations = "9", map[string]string{"lb.baremetal/status": "In use"}
		if _, err := client.CoreV1().ConfigMaps("baremetal-system").Update(t.Context(), annotated, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if now := w.State(); now.Config != before.Config || now.ResourceVersion != 9 || now.Object.Annotations == nil {
			t.Errorf("before %+v, now %+v", before, now)
		}
	})
}

func TestNodesAreReadAsFarAsPossible(t *testing.T) {
	nodes := object("config-nodes", map[string]string{"n1": `{"addresses":["192.0.2.1/24"],"gateways":["192.0.2.254"]}`, "n2": "broken"})
	watched(t, []*v1.ConfigMap{nodes}, func(w *configmap.Watcher, _ *fake.Clientset) {
		got := w.Nodes()
		if len(got) != 1 || got["n1"].Addresses[0].String() != "192.0.2.1/24" || got["n1"].Gateways[0].String() != "192.0.2.254" {
			t.Errorf("got %+v", got)
		}
	})
}
