package integration

import (
	"debug/elf"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// The API server checks more than a client can check in YAML.
func TestManifestsAreAccepted(t *testing.T) {
	f := setUp(t)
	out := f.kubectl("apply", "--dry-run=server", "-k", f.cluster.Root()+"/manifests")
	for _, want := range []string{"deployment.apps/baremetal-cloud-controller-manager", "daemonset.apps/baremetal-speaker"} {
		if !strings.Contains(out, want) {
			f.Errorf("%s is missing in\n%s", want, out)
		}
	}
	if strings.Contains(strings.ToLower(out), "warning") {
		f.Errorf("warnings:\n%s", out)
	}
}

// The image contains only the two programs, and no libraries.
func TestProgramsAreStatic(t *testing.T) {
	f := setUp(t)
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker"} {
		program, err := elf.Open(filepath.Join(f.cluster.Root(), "bin", name))
		f.must(err)
		defer program.Close()
		if libraries, err := program.ImportedLibraries(); err != nil && !errors.Is(err, elf.ErrNoSymbols) || len(libraries) > 0 {
			f.Errorf("%s needs the libraries %v (%v)", name, libraries, err)
		}
	}
}
