package integration

import (
	"debug/elf"
	"errors"
	"path/filepath"
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

// The image has nothing but the programs in it.
func TestTheProgramsAreStatic(t *testing.T) {
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker"} {
		f, err := elf.Open(filepath.Join(the.Root(), "bin", name))
		must(t, err)
		defer f.Close()
		if libraries, err := f.ImportedLibraries(); err != nil && !errors.Is(err, elf.ErrNoSymbols) || len(libraries) > 0 {
			t.Errorf("%s needs %v (%v)", name, libraries, err)
		}
	}
}
