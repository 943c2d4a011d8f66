package view

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestNodeIsReadyOnlySinceItsMachineStarted(t *testing.T) {
	node := func(status v1.ConditionStatus, boot string) *v1.Node {
		return &v1.Node{Status: v1.NodeStatus{NodeInfo: v1.NodeSystemInfo{BootID: boot}, Conditions: []v1.NodeCondition{{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse}, {Type: v1.NodeReady, Status: status}}}}
	}
	for _, tt := range []struct {
		name string
		node *v1.Node
		boot string
		want bool
	}{
		{"no Node", nil, "a", false},
		{"no condition", &v1.Node{}, "", false},
		{"Ready", node(v1.ConditionTrue, "a"), "a", true},
		{"NotReady", node(v1.ConditionFalse, "a"), "a", false},
		{"Unknown", node(v1.ConditionUnknown, "a"), "a", false},
		{"Ready before the machine started", node(v1.ConditionTrue, "a"), "b", false},
		{"no kubelet has written the boot ID", node(v1.ConditionTrue, ""), "b", true},
		{"this machine has no boot ID", node(v1.ConditionTrue, "a"), "", true},
	} {
		if _, got := readySince(tt.node, tt.boot); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestKubeProxyIsAskedUntilItIsHealthy(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n < 2 || r.URL.Path != "/healthz":
			rw.WriteHeader(http.StatusServiceUnavailable)
		case n < 3: // it starts
			fmt.Fprint(rw, `{"lastUpdated":"2026-01-02T03:04:05Z","healthy":true}`)
		default:
			fmt.Fprint(rw, `{"healthy":true,"status":{"IPv4":{"healthy":true}}}`)
		}
	}))
	defer server.Close()
	changed := make(chan struct{}, 1)
	k := NewKubeProxy(strings.TrimPrefix(server.URL, "http://"), func() { changed <- struct{}{} }, slog.New(slog.DiscardHandler))
	if k.Answered() {
		t.Error("has answered before it was asked")
	}
	if err := k.Run(context.Background()); err != nil || !k.Answered() || asked.Load() != 3 {
		t.Errorf("%v, answered %v, asked %d times", err, k.Answered(), asked.Load())
	}
	<-changed
	if old := (proxyHealth{}); old.synced(settleTime-1) || !old.synced(settleTime) {
		t.Error("an older version gets no time, or too much")
	}
	if k := NewKubeProxy("", nil, nil); k.Run(context.Background()) != nil || k.Answered() {
		t.Error("without an address")
	}
}
