package cloudprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func (r *rig) allocations() debugapi.Allocations {
	r.t.Helper()
	d := NewDebug(slog.New(slog.DiscardHandler))
	d.cloud.Store(r.cloud)
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest("GET", debugapi.AllocationsPath, nil))
	var doc debugapi.Allocations
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		r.t.Fatal(err)
	}
	if err := doc.Check(debugapi.AllocationsKind); err != nil {
		r.t.Fatal(err)
	}
	return doc
}

func TestAllocationsSayWhatEachServiceHasOrWaitsFor(t *testing.T) {
	r := startOn(t, fake.NewClientset(pools(`
address-pools:
- {name: one, protocol: layer2, addresses: [192.0.2.1/32]}
- {name: theirs, protocol: bgp, addresses: [192.0.2.8/29], namespaces: [other], priority: 1}
`), svc("has", time.Hour, "192.0.2.1"), svc("waits", time.Minute), node("node1", "192.0.2.9")))
	var doc debugapi.Allocations
	r.eventually("both Services are in the document", func() bool {
		_, _ = r.ensure(svc("waits", time.Minute))
		doc = r.allocations()
		return len(doc.Services) == 2 && doc.Services[0].Waiting != nil && len(doc.Reserved) == 1
	})
	if !doc.Leader || !doc.Adopted || doc.Config.Problem != "" || doc.Config.Hash == "" {
		t.Errorf("%+v", doc)
	}
	waits, has := doc.Services[0], doc.Services[1]
	if has.Name != "default/has" || len(has.Addresses) != 1 || has.Addresses[0].String() != "192.0.2.1" || has.Waiting != nil {
		t.Errorf("%+v", has)
	}
	if w := waits.Waiting; !strings.Contains(w.Why, `pool "one" is exhausted`) || !strings.Contains(w.Advice, "Add addresses") || len(w.Pools) != 2 ||
		w.Pools[0].Pool != "theirs" || !strings.Contains(w.Pools[0].Why, "other namespaces") || !strings.Contains(w.Pools[1].Why, "exhausted") {
		t.Errorf("%+v", w)
	}
	if doc.Reserved[0].Address.String() != "192.0.2.9" || doc.Reserved[0].Why != "an address of node node1" {
		t.Errorf("reserved: %+v", doc.Reserved)
	}
	if len(doc.Pools) != 2 || doc.Pools[0].Total != 7 || doc.Pools[1].Free != 0 || doc.Pools[1].Assigned != 1 || doc.Pools[1].Protocol != "layer2" {
		t.Errorf("pools: %+v", doc.Pools)
	}
}

func TestAllocationsSayThatTheNewestConfigurationIsRefused(t *testing.T) {
	r := start(t, pools("address-pools: [{name: a, protocol: layer2, addresses: [192.0.2.1/32], colour: red}]"))
	r.eventually("the document says what is wrong", func() bool { return strings.Contains(r.allocations().Config.Problem, "colour") })
	if doc := r.allocations(); !doc.Leader || doc.Adopted || doc.Config.Hash != "" {
		t.Errorf("%+v", doc)
	}
}

func TestAllocationsOfAManagerThatDoesNotLeadAreEmpty(t *testing.T) {
	r := &rig{t: t, cloud: newCloud(Options{Log: slog.New(slog.DiscardHandler)})}
	if doc := r.allocations(); doc.Leader || len(doc.Services) != 0 {
		t.Errorf("%+v", doc)
	}
}

func TestAllocationsAreBounded(t *testing.T) {
	c := newCloud(Options{Log: slog.New(slog.DiscardHandler)})
	for i := range debugapi.MaxServices + 7 {
		c.tracker.setAdopted(svc(fmt.Sprint("s", i), 0), nil)
	}
	services, omitted := c.serviceDocuments()
	if len(services) != debugapi.MaxServices || omitted != 7 {
		t.Errorf("%d Services, %d omitted", len(services), omitted)
	}
}

func TestDebugMetricsAreThoseOfPrometheus(t *testing.T) {
	w := httptest.NewRecorder()
	NewDebug(slog.New(slog.DiscardHandler)).Handler().ServeHTTP(w, httptest.NewRequest("GET", debugapi.MetricsPath, nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("%d: %.200s", w.Code, w.Body)
	}
}

func TestDebugPagesRefuseTheNameOfAWebPage(t *testing.T) {
	for host, want := range map[string]int{"127.0.0.1:7474": http.StatusOK, "evil.example:7474": http.StatusForbidden} {
		for _, path := range []string{debugapi.AllocationsPath, debugapi.MetricsPath} {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
			r.Host = host
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7474}))
			if NewDebug(slog.New(slog.DiscardHandler)).Handler().ServeHTTP(w, r); w.Code != want {
				t.Errorf("%s of %s: status %d, want %d", path, host, w.Code, want)
			}
		}
	}
}
