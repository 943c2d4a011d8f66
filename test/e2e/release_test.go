package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// releaseVersion is the version of the release that the tests build.
const releaseVersion = "0.2.0"

// buildRelease builds the files of a release, and returns their directory.
func (f *fixture) buildRelease() string {
	f.Helper()
	dist := filepath.Join(f.TempDir(), "dist")
	build := exec.CommandContext(f.Context(), "go", "run", ".", "-version", "v"+releaseVersion, "-output", dist)
	build.Dir = filepath.Join(f.env.Root, "test", "tools", "release")
	if out, err := build.CombinedOutput(); err != nil {
		f.Fatalf("building a release: %v\n%s", err, out)
	}
	return dist
}

// installRelease installs a release as docs/guides/install.md says for nodes that cannot pull
// images, and uninstalls it at the end of the test. It returns the directory of the release.
func (f *fixture) installRelease() (dist string) {
	f.Helper()
	dist = f.buildRelease()
	for _, n := range f.cluster.AllNodes() {
		f.must(n.ImportImages(filepath.Join(dist, fmt.Sprintf("cloud-provider-baremetal-%s-image-linux-%s.tar", releaseVersion, runtime.GOARCH))))
	}
	manifest := filepath.Join(dist, "install.yaml")
	f.Cleanup(func() { f.uninstalls("-f", manifest) })
	f.kubectl("apply", "-f", manifest)
	f.must(f.cluster.SetPools(context.Background(), cluster.DefaultPools))
	f.must(f.cluster.RolledOut(context.Background()))
	return dist
}

// The image of install.yaml is the one of the archive: the nodes have no registry.
func TestReleaseIsInstalledFromItsFiles(t *testing.T) {
	f := setUp(t)
	dist := f.installRelease()
	f.serves(f.nginx())

	bin := f.TempDir()
	archive := filepath.Join(dist, fmt.Sprintf("kubectl-baremetal-%s-linux-%s.tar.gz", releaseVersion, runtime.GOARCH))
	if out, err := exec.Command("tar", "-xzf", archive, "-C", bin, "kubectl-baremetal").CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	var out []byte
	f.eventually("the plugin of the release finds no problem", func() bool {
		status := exec.CommandContext(f.Context(), filepath.Join(bin, "kubectl-baremetal"), "status")
		status.Env = append(os.Environ(), "KUBECONFIG="+f.cluster.Kubeconfig())
		var err error
		out, err = status.CombinedOutput()
		return err == nil
	})
	if !strings.Contains(string(out), "v"+releaseVersion) {
		f.Errorf("the status names no version %s:\n%s", releaseVersion, out)
	}
}
