package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// helmUser installs the chart of this commit as the release "baremetal".
type helmUser struct {
	*fixture
	chart string // its directory
}

// withHelm creates the namespace of the release, as docs/guides/install.md says. It removes the release and the
// namespace at the end of the test.
func withHelm(t *testing.T) *helmUser {
	t.Helper()
	u := &helmUser{fixture: setUp(t)}
	u.chart = filepath.Join(u.env.Root, "manifests", "helm")
	u.kubectl("create", "namespace", "baremetal-system")
	u.Cleanup(func() { u.kubectl("delete", "namespace", "baremetal-system", "--timeout=2m") })
	u.kubectl("label", "namespace", "baremetal-system", "pod-security.kubernetes.io/enforce=privileged")
	u.Cleanup(func() { u.helm("uninstall", "baremetal", "--wait", "--timeout=2m") })
	return u
}

// try runs helm in the namespace of the release, and returns its output.
func (u *helmUser) try(args ...string) (string, error) {
	cmd := exec.Command(u.cluster.Binary("helm"), append([]string{"--kubeconfig=" + u.cluster.Kubeconfig(), "-n", "baremetal-system"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// helm is try, and ends the test if helm fails.
func (u *helmUser) helm(args ...string) string {
	u.Helper()
	out, err := u.try(args...)
	if err != nil {
		u.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// file writes a file, and returns its path.
func (u *helmUser) file(name, text string) string {
	u.Helper()
	path := filepath.Join(u.TempDir(), name)
	u.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

// The chart can be installed, tested, upgraded and uninstalled with the commands of
// docs/guides/install.md and docs/guides/upgrade.md.
func TestHelmChart(t *testing.T) {
	u := withHelm(t)
	u.Log(u.helm("install", "baremetal", u.chart, "--set", "image.repository=cloud-provider-baremetal", "--set-file", "config="+u.file("pools.yaml", cluster.DefaultPools), "--wait", "--timeout=2m"))
	u.serves(u.nginx())
	u.helm("test", "baremetal", "--timeout=1m")
	if out, err := u.try("install", "second", u.chart); err == nil || !strings.Contains(out, `this cluster already has the release "baremetal" of this chart in the namespace "baremetal-system"`) {
		u.Errorf("a second release: %v: %s", err, out)
	}
	config := u.kubectl("-n", "baremetal-system", "get", "configmap", "config", "-o", "jsonpath={.data}")
	u.helm("upgrade", "baremetal", u.chart, "--set", "image.repository=cloud-provider-baremetal", "--set", "ccm.replicas=3", "--set", "logFormat=json", "--wait", "--timeout=2m")
	if replicas := u.kubectl("-n", "baremetal-system", "get", "deployments", "-o", "jsonpath={.items[*].status.readyReplicas}"); replicas != "3" {
		u.Errorf("%s cluster managers are ready after the upgrade to 3", replicas)
	}
	if after := u.kubectl("-n", "baremetal-system", "get", "configmap", "config", "-o", "jsonpath={.data}"); after != config {
		u.Errorf("after an upgrade without config the ConfigMap has\n%s\nand not, as before,\n%s", after, config)
	}
	u.must(u.cluster.RolledOut(u.Context())) // helm does not wait for the last speaker
	u.logsAreJSON("baremetal-speaker")
	u.logsAreJSON("baremetal-cloud-controller-manager")
}

// Helm does not know what somebody has changed in the cluster.
func TestHelmUpgradeKeepsEditsOfTheConfigMap(t *testing.T) {
	u := withHelm(t)
	const first, edited, second, later = "# first\naddress-pools: []\n", "# edited\naddress-pools: []\n\n", "# second\naddress-pools: []\n", "# later\naddress-pools: []\n"
	firstFile, secondFile := "config="+u.file("first.yaml", first), "config="+u.file("second.yaml", second)
	edit := func(text string) {
		u.Helper()
		patch, err := json.Marshal(map[string]any{"data": map[string]string{"config": text}})
		u.must(err)
		u.kubectl("-n", "baremetal-system", "patch", "configmap", "config", "--type=merge", "-p", string(patch))
	}
	expect := func(when, want string) {
		u.Helper()
		var cm struct{ Data map[string]string }
		u.must(json.Unmarshal([]byte(u.kubectl("-n", "baremetal-system", "get", "configmap", "config", "-o", "json")), &cm))
		if cm.Data["config"] != want {
			u.Errorf("%s: the ConfigMap has %q, want %q", when, cm.Data["config"], want)
		}
	}
	u.helm("install", "baremetal", u.chart, "--set-file", firstFile)
	expect("after the installation", first)
	edit(edited)
	if notes := u.helm("upgrade", "baremetal", u.chart, "--set-file", firstFile); !strings.Contains(notes, "The edit stays") {
		u.Errorf("the notes do not name the edit:\n%s", notes)
	}
	expect("after an upgrade with the same value", edited)
	u.helm("upgrade", "baremetal", u.chart, "--reuse-values")
	expect("after an upgrade with --reuse-values", edited)
	u.helm("upgrade", "baremetal", u.chart, "--reset-values")
	expect("after an upgrade without a value", edited)
	u.helm("upgrade", "baremetal", u.chart, "--set-file", firstFile)
	expect("after one more upgrade with the same value", edited)
	u.helm("upgrade", "baremetal", u.chart, "--set-file", secondFile)
	expect("after an upgrade with a new value", second)

	// The commands of "Roll back" in docs/guides/upgrade.md.
	edit(later)
	shell := tutorial.NewShell(u.TempDir(), u.cluster.Kubeconfig(), u.cluster.Binary("kubectl"))
	run := func(command string) {
		u.Helper()
		if out, err := shell.Run(u.Context(), command); err != nil {
			u.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	run("kubectl -n baremetal-system get configmap config -o jsonpath='{.data.config}' > pools.yaml")
	u.helm("rollback", "baremetal", "1")
	expect("after the rollback", first)
	run("kubectl -n baremetal-system create configmap config --from-file=config=pools.yaml --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -")
	expect("after the rollback, with what was saved", later)
	u.helm("upgrade", "baremetal", u.chart, "--reuse-values")
	expect("after an upgrade after the rollback", later)

	// As the chart 0.1.0 makes it.
	u.kubectl("-n", "baremetal-system", "annotate", "configmap", "config", "lb.baremetal/chart-config-sha256-")
	out, err := u.try("upgrade", "baremetal", u.chart, "--set-file", secondFile)
	_, command, found := strings.Cut(out, "To replace it with the value, run: ")
	if err == nil || !found {
		u.Fatalf("an upgrade with another value: %v: %s", err, out)
	}
	expect("after an upgrade that was refused", later)
	command, _, _ = strings.Cut(command, ". Then")
	run(command)
	u.helm("upgrade", "baremetal", u.chart, "--set-file", secondFile)
	expect("after the decision for the value", second)
}

// logsAreJSON checks the logs of all pods of a program.
func (f *fixture) logsAreJSON(program string) {
	f.Helper()
	logs := f.kubectl("-n", "baremetal-system", "logs", "-l", "app.kubernetes.io/name="+program, "--tail=-1")
	for line := range strings.Lines(logs) {
		if !json.Valid([]byte(line)) {
			f.Errorf("%s: this line of the log is not JSON: %s", program, line)
		}
	}
	if logs == "" {
		f.Errorf("%s: the pods have no log", program)
	}
}
