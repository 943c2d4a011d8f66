package diagnose_test

import (
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// The speaker with the old key does not hear the others, and rejects nothing: they send it nothing.
func TestOtherKeyIsNamedByTheSideThatRejects(t *testing.T) {
	in := world()
	for i, s := range in.Speakers[:2] {
		in.Speakers[i].Members.Members = in.Speakers[i].Members.Members[:1]
		rejects(in, s.Node(), hostIPs["node3"], 3*time.Second)
	}
	in.Speakers[2].Members.Members = nil
	s := diagnose.StatusOf(in)
	if len(s.Problems) != 1 || s.Problems[0].Reason != "KeyRejected" || s.Problems[0].Where != "nodes node1, node2" {
		t.Errorf("%+v", s.Problems)
	}
}
