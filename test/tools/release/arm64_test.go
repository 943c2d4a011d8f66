package main

import (
	"archive/zip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// programsOf unpacks the programs of a platform, those of the image and the plugin, and returns their directory.
func programsOf(t *testing.T, p Platform) string {
	t.Helper()
	dir := unpackLayer(t, "cloud-provider-baremetal-9.8.7-image-"+p.String()+".tar")
	if out, err := exec.Command("tar", "-xzf", filepath.Join(built.dir, "kubectl-baremetal-9.8.7-"+p.String()+".tar.gz"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// windowsPlugin unpacks the plugin for Windows, and returns its path.
func windowsPlugin(t *testing.T) string {
	t.Helper()
	archive, err := zip.OpenReader(filepath.Join(built.dir, "kubectl-baremetal-9.8.7-windows-arm64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	f, err := archive.Open(pluginName + ".exe")
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), pluginName+".exe")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// emulator returns the command that runs programs for an architecture, or nothing for those of
// this machine.
func emulator(t *testing.T, arch string) []string {
	t.Helper()
	if arch == runtime.GOARCH {
		return nil
	}
	name := map[string]string{"arm64": "qemu-aarch64-static", "amd64": "qemu-x86_64-static"}[arch]
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; Debian's package is qemu-user-static", name)
	}
	return []string{path}
}

func TestProgramsOfBothArchitecturesDoTheSame(t *testing.T) {
	t.Logf("This machine is %s.", runtime.GOARCH)
	examples, err := filepath.Glob("../../../manifests/examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("%d examples (%v)", len(examples), err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{} // of each command, by architecture
	for _, p := range imagePlatforms {
		dir, run := programsOf(t, p), emulator(t, p.Arch)
		for _, command := range [][]string{
			{"baremetal-cloud-controller-manager", "--version"},
			{"baremetal-speaker", "--version"},
			{pluginName, "version"},
			append([]string{pluginName, "check-config"}, examples...),
			{pluginName, "check-config", broken},
		} {
			args := append(append([]string{}, run...), filepath.Join(dir, command[0]))
			args = append(args, command[1:]...)
			out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
			if failed := err != nil; failed != (command[len(command)-1] == broken) {
				t.Errorf("%s: %s: %v\n%s", p, strings.Join(command, " "), err, out)
			}
			outputs[p.Arch] += "$ " + strings.Join(command, " ") + "\n" + string(out)
		}
	}
	if outputs["amd64"] != outputs["arm64"] {
		t.Errorf("amd64 prints\n%s\narm64 prints\n%s", outputs["amd64"], outputs["arm64"])
	}
	if got := strings.Count(outputs["amd64"], "version\nv9.8.7\n"); got != 3 {
		t.Errorf("%d programs print the version as v9.8.7, want 3:\n%s", got, outputs["amd64"])
	}
}
