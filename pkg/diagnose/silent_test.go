package diagnose_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// These look like faults, and are none.
func TestStatusIsSilentIfAllIsWell(t *testing.T) {
	for name, change := range map[string]func(*diagnose.Input){
		"cluster managers that serve no document": func(in *diagnose.Input) {
			for i := range in.Managers {
				in.Managers[i] = diagnose.Manager{Pod: in.Managers[i].Pod, Problem: "it runs with --debug-address=, so it serves no documents", Silent: true}
			}
		},
		"a clock that is a minute ahead, and no manager that serves documents": func(in *diagnose.Input) {
			for i := range in.Managers {
				in.Managers[i] = diagnose.Manager{Pod: in.Managers[i].Pod, Silent: true}
			}
			in.Now = in.Now.Add(time.Minute)
		},
		"a node that the selector leaves out": func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.DaemonSet.Spec.Template.Spec.NodeSelector = map[string]string{"lb": "yes"}
			in.Nodes[0].Labels, in.Nodes[1].Labels = map[string]string{"lb": "yes"}, map[string]string{"lb": "yes"}
		},
		"a node that the affinity leaves out": func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.Nodes[2].Labels = map[string]string{"storage": ""}
			in.DaemonSet.Spec.Template.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
				NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "storage", Operator: v1.NodeSelectorOpDoesNotExist}}}},
			}}}
		},
		"a node with a taint that the speakers do not tolerate": func(in *diagnose.Input) {
			in.Speakers = in.Speakers[:2]
			in.DaemonSet.Spec.Template.Spec.Tolerations = []v1.Toleration{{Key: "control-plane", Operator: v1.TolerationOpExists}}
			in.Nodes[2].Spec.Taints = []v1.Taint{{Key: "gpu", Effect: v1.TaintEffectNoSchedule}}
		},
	} {
		in := world()
		change(in)
		for _, s := range in.Speakers { // a node without a speaker is no member
			var members []debugapi.Member
			for _, m := range s.Members.Members {
				if len(in.Speakers) == 3 || m.Name != "node3" {
					members = append(members, m)
				}
			}
			s.Members.Members = members
		}
		if s := diagnose.StatusOf(in); len(s.Problems) != 0 {
			t.Errorf("%s: %+v", name, s.Problems)
		}
	}
}

// In a large cluster a speaker hears no heartbeats of most members, because it does not watch them.
func TestMemberThatIsNotWatchedNeedNotBeHeard(t *testing.T) {
	in := world()
	in.Speakers[0].Members.Members[0].Watched, in.Speakers[0].Members.Members[0].Heard = false, false
	if s := diagnose.StatusOf(in); len(s.Problems) != 0 {
		t.Errorf("%+v", s.Problems)
	}
}

func TestProblemOfSeveralNodesIsNamedOnce(t *testing.T) {
	in := world()
	for i := range in.Speakers {
		in.Speakers[i].BGP.Sessions[0].Up = false
	}
	s := diagnose.StatusOf(in)
	if len(s.Problems) != 1 || s.Problems[0].Where != "nodes node1, node2, node3" {
		t.Errorf("%+v", s.Problems)
	}
}
