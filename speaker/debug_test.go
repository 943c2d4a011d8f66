package speaker

import (
	"net/http/httptest"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestPlanIsWithoutItsStateIfTheClientAsks(t *testing.T) {
	plan := debugapi.Plan{Routes: []debugapi.Route{{}}, State: &debugapi.State{Node: "a"}}
	for url, state := range map[string]bool{
		debugapi.PlanPath: true, debugapi.PlanPath + "?format=json": true, debugapi.PlanPath + "?state=true": true,
		debugapi.PlanPath + "?" + debugapi.WithoutState: false, debugapi.PlanPath + "?format=json&" + debugapi.WithoutState: false,
	} {
		got := wanted(plan, httptest.NewRequest("GET", url, nil)).(debugapi.Plan)
		if (got.State != nil) != state || len(got.Routes) != 1 {
			t.Errorf("%s: %+v", url, got)
		}
	}
}
