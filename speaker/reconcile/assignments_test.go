package reconcile

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

func TestAssignmentsFollowTheReasons(t *testing.T) {
	vip, links := addr("192.0.2.7"), []string{"eth0"}
	owner := layer2.Assignment{Addr: vip, Role: layer2.Owner, Links: links, DespiteConflicts: true}
	fresh := owner
	fresh.Fresh = true
	standby := layer2.Assignment{Addr: vip, Role: layer2.Standby}
	before := map[netip.Addr]bool{vip: true}
	for _, test := range []struct {
		reason    plan.Reason
		announced map[netip.Addr]bool // by any speaker, before this plan
		want      []layer2.Assignment
		after     bool // the VIP counts as announced after this plan
	}{
		{plan.Owner, nil, []layer2.Assignment{fresh}, true},
		{plan.Owner, before, []layer2.Assignment{owner}, true},
		{plan.Conflict, before, []layer2.Assignment{owner}, false},
		{plan.OtherOwner, nil, []layer2.Assignment{standby}, true},
		{plan.NoEndpoint, nil, []layer2.Assignment{standby}, false},
		{plan.NoLink, before, []layer2.Assignment{standby}, true},
		{plan.NoCandidate, nil, []layer2.Assignment{standby}, false},
		{plan.Fenced, before, nil, true},
		{plan.NotLayer2, nil, nil, false},
	} {
		p := plan.Plan{Decisions: []plan.Decision{{VIP: vip, Reason: test.reason, Links: links, DespiteConflicts: true}}}
		if got := assignments(p, test.announced); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.reason, got, test.want)
		}
		if got := announcedSoFar(p, test.announced)[vip]; got != test.after {
			t.Errorf("%s: the VIP counts as announced: %v, want %v", test.reason, got, test.after)
		}
	}
}

func TestNextOwnerProbesAnAddressThatIsWithheld(t *testing.T) {
	vip := addr("192.0.2.7")
	other := plan.Plan{Decisions: []plan.Decision{{VIP: vip, Reason: plan.OtherOwner, Withheld: true}}}
	announced := announcedSoFar(other, map[netip.Addr]bool{vip: true})
	got := assignments(plan.Plan{Decisions: []plan.Decision{{VIP: vip, Reason: plan.Owner, Withheld: true}}}, announced)
	if len(got) != 1 || !got[0].Fresh {
		t.Errorf("%+v", got)
	}
}
