package main

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// forbid lets the API server refuse to list a resource.
func (c *testCluster) forbid(resource string) {
	c.client.PrependReactor("list", resource, func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no right")
	})
}

// unready makes a node not ready.
func (c *testCluster) unready(node string) {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown}}}}
	if _, err := c.client.CoreV1().Nodes().Update(c.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// A script that drains a node after exit status 0 must not get it for a guess.
func TestSimulateIsNoGoAheadIfItsInputIsIncomplete(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*testCluster)
		want   string
		status int
	}{
		"complete":                 {func(*testCluster) {}, "With node2 drained", 0},
		"the EndpointSlices":       {func(c *testCluster) { c.forbid("endpointslices") }, "Incomplete: The EndpointSlices could not be read: no right. A Service", 2},
		"the Services":             {func(c *testCluster) { c.forbid("services") }, "Incomplete: The Services could not be read: no right.", 2},
		"a speaker":                {func(c *testCluster) { c.silent["node1"] = true }, "Incomplete: The speaker of node node1 did not say what it does: no answer. What", 2},
		"a speaker, and the Nodes": {func(c *testCluster) { c.silent["node1"] = true; c.forbid("nodes") }, "Incomplete: The speaker of node node1", 2},
		"a node that is not ready": {func(c *testCluster) { c.silent["node1"] = true; c.unready("node1") }, "Note: The speaker of node node1 did not say what it does: no answer. Kubernetes says that the node is not ready.", 0},
		"another version":          {func(c *testCluster) { c.version = "v9" }, "Note: Speakers have the version v9, and this plugin has ", 0},
		"another owner":            {func(c *testCluster) { c.decide = func(d *debugapi.Decision) { d.Owner = "node9" } }, "Incomplete: The speaker of node node1 decides about 10.0.1.1 in another way", 2},
		"another reason":           {func(c *testCluster) { c.decide = func(d *debugapi.Decision) { d.Reason = "Later" } }, "Incomplete: The speaker of node node2 decides about 10.0.1.1 in another way", 2},
	} {
		c := newTestCluster(t)
		test.change(c)
		s, out := c.simulator("")
		r, err := s.run(t.Context(), []string{"node2"}, nil, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := exitCodeOf(printSimulation(out, formatTable, r)); got != test.status {
			t.Errorf("%s: exit status %d, want %d", name, got, test.status)
		}
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: %q is missing in\n%s", name, test.want, out)
		}
	}
}

func TestUnservedAddressCountsMoreThanMissingInput(t *testing.T) {
	c := newTestCluster(t)
	c.forbid("endpointslices")
	s, out := c.simulator("")
	r, err := s.run(t.Context(), nil, clusterNodes, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := exitCodeOf(printSimulation(out, formatJSON, r)); got != 1 || !strings.Contains(out.String(), `"incomplete": [`) {
		t.Errorf("exit status %d\n%s", got, out)
	}
}

func TestSimulateNeedsOneSpeakerThatAnswers(t *testing.T) {
	c := newTestCluster(t)
	c.silent["node1"], c.silent["node2"] = true, true
	s, _ := c.simulator("")
	if _, err := s.run(t.Context(), nil, []string{"node2"}, ""); err == nil || !strings.Contains(err.Error(), "The speaker of node node1 did not say what it does: no answer.") {
		t.Errorf("no speaker answers: %v", err)
	}
}
