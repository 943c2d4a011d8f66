package integration

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"regexp"
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

// The component is switched on as its comment in kustomization.yaml says.
func TestComponentForDeadNodesIsAccepted(t *testing.T) {
	f := setUp(t)
	dir := filepath.Join(f.TempDir(), "manifests")
	f.must(os.CopyFS(dir, os.DirFS(f.cluster.Root()+"/manifests")))
	file := filepath.Join(dir, "kustomization.yaml")
	text, err := os.ReadFile(file)
	f.must(err)
	on := strings.Replace(string(text), "\n# components:", "\ncomponents:", 1)
	if on == string(text) {
		f.Fatalf("the component is not named in\n%s", text)
	}
	f.must(os.WriteFile(file, []byte(on), 0o644))
	if out := f.kubectl("kustomize", dir); strings.Count(out, "- --report-dead-nodes=true\n") != 1 {
		f.Errorf("the flag is not set in\n%s", out)
	}
	out := f.kubectl("apply", "--dry-run=server", "-k", dir)
	if !strings.Contains(out, "validatingadmissionpolicy.admissionregistration.k8s.io/baremetal-pod-status") || strings.Contains(strings.ToLower(out), "warning") {
		f.Errorf("kubectl says\n%s", out)
	}
}

// The API server accepts the example overlay for another namespace, also with the component.
func TestOverlayOfAnotherNamespaceIsAccepted(t *testing.T) {
	f := setUp(t)
	f.kubectl("create", "namespace", "lb-system", "--save-config") // otherwise kubectl apply warns
	f.Cleanup(func() { f.kubectl("delete", "namespace", "lb-system", "--timeout=1m") })
	dir := f.TempDir()
	f.must(os.CopyFS(filepath.Join(dir, "manifests"), os.DirFS(f.cluster.Root()+"/manifests")))
	example, err := os.ReadFile(filepath.Join(dir, "manifests", "examples", "another-namespace", "kustomization.yaml"))
	f.must(err)
	text := regexp.MustCompile(`(?m)^resources: .*`).ReplaceAllString(string(example), "resources: [../manifests]\ncomponents: [../manifests/report-dead-nodes]")
	f.must(os.Mkdir(filepath.Join(dir, "overlay"), 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "overlay", "kustomization.yaml"), []byte(text), 0o644))
	out := f.kubectl("apply", "--dry-run=server", "-k", filepath.Join(dir, "overlay"))
	for _, want := range []string{"daemonset.apps/baremetal-speaker", "validatingadmissionpolicy.admissionregistration.k8s.io/baremetal-service-status", "role.rbac.authorization.k8s.io/baremetal-ccm-node-leases"} {
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
