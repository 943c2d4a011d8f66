package integration

import (
	"strings"
	"testing"
)

// The API server checks what a client-side look at YAML cannot.
func TestTheManifestsAreAccepted(t *testing.T) {
	out := kubectl(t, "apply", "--dry-run=server", "-k", the.Root()+"/manifests")
	for _, want := range []string{"deployment.apps/baremetal-cloud-controller-manager", "daemonset.apps/baremetal-speaker"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if strings.Contains(strings.ToLower(out), "warning") {
		t.Errorf("warnings:\n%s", out)
	}
}
