package speaker

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// The speakers may list and watch ConfigMaps, and nothing else.
func TestUninstallIsNoticedByMissingRights(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	for name, tt := range map[string]struct {
		answer error
		want   bool
	}{
		"a restart":                      {nil, false},
		"the rights are gone":            {apierrors.NewForbidden(configMaps, "", nil), true},
		"the account is gone":            {apierrors.NewUnauthorized("no account"), true},
		"the API server does not answer": {context.DeadlineExceeded, false},
	} {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(action k8stesting.Action) (bool, runtime.Object, error) {
			if action.GetVerb() != "list" {
				return true, nil, apierrors.NewForbidden(configMaps, "", nil)
			}
			return tt.answer != nil, nil, tt.answer
		})
		if got := isUninstalled(t.Context(), client, "baremetal-system"); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
