package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The kubelet of a node without a registry looks for the image by the name that is in
// install.yaml: repository and digest.
func TestContainerdImportsTheImageUnderBothNames(t *testing.T) {
	ctr := startContainerd(t)
	archive := filepath.Join(built.dir, "cloud-provider-baremetal-9.8.7-image-linux-"+runtime.GOARCH+".tar")
	if out, err := ctr("-n", "k8s.io", "images", "import", "--no-unpack", archive); err != nil {
		t.Fatalf("importing: %v\n%s", err, out)
	}
	digest := imageDigest(t)
	out, err := ctr("-n", "k8s.io", "images", "ls")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"registry.example.com/lb:v9.8.7", "registry.example.com/lb@" + digest} {
		line := ""
		for l := range strings.Lines(out) {
			if strings.HasPrefix(l, name+" ") {
				line = l
			}
		}
		if !strings.Contains(line, digest) || !strings.Contains(line, "linux/"+runtime.GOARCH) {
			t.Errorf("the image has not the name %s and the digest %s:\n%s", name, digest, out)
		}
	}
	if out, err = ctr("-n", "k8s.io", "images", "check"); err != nil || strings.Count(out, "complete") != 2 || strings.Contains(out, "incomplete") {
		t.Errorf("ctr images check: %v\n%s", err, out)
	}
}

// install.yaml names the image by its digest, so a copy in a registry must have the same one.
func TestSkopeoCopiesTheImageWithItsDigest(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed")
	}
	copied := filepath.Join(t.TempDir(), "copy")
	archive := filepath.Join(built.dir, "cloud-provider-baremetal-9.8.7-image.oci.tar")
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "oci-archive:"+archive+":v9.8.7", "dir:"+copied).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	manifest, err := os.ReadFile(filepath.Join(copied, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)), imageDigest(t); got != want {
		t.Errorf("the copy has the digest %s, want %s", got, want)
	}
}

// startContainerd starts a containerd with directories of its own, and returns a function that
// runs ctr with it.
func startContainerd(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	for _, name := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("containerd is not installed")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root")
	}
	dir, err := os.MkdirTemp("", "containerd-") // a short path: a socket's has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "config.toml")
	text := "version = 2\nroot = \"" + dir + "/root\"\nstate = \"" + dir + "/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"" + socket + "\"\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	daemon := exec.Command("containerd", "--config", config)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait() // it has no result that matters
		if t.Failed() {
			t.Logf("containerd:\n%s", log.String())
		}
	})
	ctr := func(args ...string) (string, error) {
		out, err := exec.Command("ctr", append([]string{"--address", socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	for range 600 {
		if _, err := ctr("version"); err == nil {
			return ctr
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("containerd did not start within a minute")
	return nil
}
