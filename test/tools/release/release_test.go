package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// built is a release that all tests share.
var built struct {
	dir     string // with the files of the release
	sources string // a copy of the sources
	options Options
}

// TestMain builds one release. Windows and Linux have different archives of the plugin, and the plugin for
// arm64 runs in a test. To save time, the other platforms are built only by `make release`.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "release-test-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = buildOnce(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func buildOnce(dir string) error {
	built.dir = filepath.Join(dir, "dist")
	built.options = Options{
		Root: "../../..", Output: built.dir, Version: "v9.8.7", ImageRepository: "registry.example.com/lb", Commit: strings.Repeat("ab", 20),
		Time: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), Plugins: []Platform{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "arm64"}}, Log: io.Discard,
	}
	return Build(context.Background(), built.options)
}

// read returns a file of the release.
func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(built.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReleaseHasAllFilesAndTheirSums(t *testing.T) {
	want := []string{
		"CHANGELOG.md", "SHA256SUMS", "cloud-provider-baremetal-9.8.7-image-linux-amd64.tar", "cloud-provider-baremetal-9.8.7-image-linux-arm64.tar",
		"cloud-provider-baremetal-9.8.7-image.oci.tar", "cloud-provider-baremetal-9.8.7-image.spdx.json", "cloud-provider-baremetal-9.8.7.tgz", "install.yaml",
		"kubectl-baremetal-9.8.7-linux-amd64.tar.gz", "kubectl-baremetal-9.8.7-linux-arm64.tar.gz", "kubectl-baremetal-9.8.7-windows-arm64.zip", "kubectl-baremetal-9.8.7.spdx.json",
	}
	entries, err := os.ReadDir(built.dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("the release has\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	sums := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	sums.Dir = built.dir
	out, err := sums.CombinedOutput()
	if err != nil || strings.Count(string(out), ": OK") != len(want)-1 {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
}

func TestReleaseOfACopyHasTheSameBytes(t *testing.T) {
	// The files of the working tree, without git's history, in a directory with a longer name.
	copied := filepath.Join(t.TempDir(), "another", "directory")
	list := exec.Command("git", "-C", built.options.Root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	files, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(files), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(built.options.Root, file))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(copied, file)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, file), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := built.options
	o.Root, o.Output = copied, filepath.Join(t.TempDir(), "dist")
	if err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	// The sums name all other files.
	sums, err := os.ReadFile(filepath.Join(o.Output, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if first := read(t, "SHA256SUMS"); !bytes.Equal(first, sums) {
		t.Errorf("the first time\n%s\nand in %s\n%s", first, copied, sums)
	}
}

func TestManifestNamesTheVersionAndTheImage(t *testing.T) {
	text := string(read(t, "install.yaml"))
	want := "registry.example.com/lb:v9.8.7@" + imageDigest(t)
	images := regexp.MustCompile(`(?m)^ +(?:- )?image: (.*)$`).FindAllStringSubmatch(text, -1)
	if len(images) != 2 {
		t.Errorf("install.yaml has %d images, want one for the cluster manager and one for the speakers", len(images))
	}
	for _, image := range images {
		if image[1] != want {
			t.Errorf("install.yaml has the image %s, want %s", image[1], want)
		}
	}
	if versions := regexp.MustCompile(`(?m)^ +app\.kubernetes\.io/version: (.*)$`).FindAllStringSubmatch(text, -1); len(versions) < 20 {
		t.Errorf("install.yaml has %d labels with the version", len(versions))
	} else if i := slices.IndexFunc(versions, func(m []string) bool { return m[1] != "v9.8.7" }); i >= 0 {
		t.Errorf("install.yaml has a label with the version %s", versions[i][1])
	}
	for _, kind := range []string{"Namespace", "DaemonSet", "Deployment", "ClusterRole", "ValidatingAdmissionPolicy"} {
		if !strings.Contains(text, "\nkind: "+kind+"\n") {
			t.Errorf("install.yaml has no %s", kind)
		}
	}
}

func TestChartHasTheVersionAndTheImage(t *testing.T) {
	c, err := loader.LoadArchive(bytes.NewReader(read(t, "cloud-provider-baremetal-9.8.7.tgz")))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Metadata.Version != "9.8.7" || c.Metadata.AppVersion != "v9.8.7" {
		t.Errorf("the chart has the version %s and the appVersion %s", c.Metadata.Version, c.Metadata.AppVersion)
	}
	source, err := readChart(built.options.Root)
	if err != nil {
		t.Fatal(err)
	}
	if image, _ := c.Values["image"].(map[string]any); image["registry"] != "registry.example.com" || image["repository"] != "lb" {
		t.Errorf("the chart has the registry %v and the image repository %v", image["registry"], image["repository"])
	}
	if len(c.Raw) != len(source.files)+1 { // with the license
		t.Errorf("the package has %d files, the chart of the sources %d", len(c.Raw), len(source.files))
	}
}

func TestRepositoriesAreSplitAtTheRegistry(t *testing.T) {
	for name, want := range map[string][2]string{
		"cloud-provider-baremetal":     {"", "cloud-provider-baremetal"},
		"team/lb":                      {"", "team/lb"},
		"registry.example.com/team/lb": {"registry.example.com", "team/lb"},
		"mirror:5000/lb":               {"mirror:5000", "lb"},
		"localhost/lb":                 {"localhost", "lb"},
	} {
		if registry, repository := splitRepository(name); registry != want[0] || repository != want[1] {
			t.Errorf("%s is the registry %q and the repository %q, want %q", name, registry, repository, want)
		}
	}
}

func TestVersionsThatCannotBeUsedAreRefused(t *testing.T) {
	for _, version := range []string{"", "0.2.0", "v0.2", "v0.2.0+build", "v00.2.0", "latest", "v0.2.0 "} {
		o := Options{Version: version, ImageRepository: project}
		if err := o.check(); err == nil || !strings.Contains(err.Error(), "v0.2.0") {
			t.Errorf("version %q: %v", version, err)
		}
	}
	for _, repository := range []string{"registry.example.com/lb:v1", "Registry.example.com/LB", "a b"} {
		o := Options{Version: "v0.2.0", ImageRepository: repository}
		if err := o.check(); err == nil || !strings.Contains(err.Error(), "without a tag") {
			t.Errorf("repository %q: %v", repository, err)
		}
	}
	o := Options{Version: "v0.2.0-rc.1", ImageRepository: "registry.example.com:5000/a/b"}
	if err := o.check(); err != nil {
		t.Error(err)
	}
}

func TestChangelogPartEndsBeforeTheNextVersion(t *testing.T) {
	const text = "# Changelog\n\n## [Unreleased] (0.3.0)\n\n- new [a](docs/a.md#x)\n\n### Fixed\n\n- b\n\n## 0.2.0-rc.1\n\n- d\n\n## 0.2.0 (2026-01-01)\n\n- c\n"
	for title, want := range map[string]string{
		"Unreleased": "\n- new [a](docs/a.md#x)\n\n### Fixed\n\n- b\n",
		"0.2.0":      "\n- c\n",
		"0.2.0-rc.1": "\n- d\n",
		"0.3.0":      "",
	} {
		if got := section(text, title); got != want {
			t.Errorf("%s: %q, want %q", title, got, want)
		}
	}
	links := "[a](docs/a.md#x) [b](https://example.com/b) [c](#c) [d](LICENSE)"
	if got, want := absoluteLinks(links, "https://example.com/v1/"), "[a](https://example.com/v1/docs/a.md#x) [b](https://example.com/b) [c](#c) [d](https://example.com/v1/LICENSE)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOutputOfSomethingElseIsNotRemoved(t *testing.T) {
	o := Options{Output: t.TempDir()}
	if _, err := newOutput(o); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	mine := filepath.Join(o.Output, "mine")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newOutput(o); err == nil || !strings.Contains(err.Error(), "no SHA256SUMS") {
		t.Errorf("a directory with another file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(o.Output, "SHA256SUMS"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newOutput(o); err != nil {
		t.Errorf("a directory with an earlier release: %v", err)
	}
	if _, err := os.Stat(mine); !os.IsNotExist(err) {
		t.Errorf("the earlier release was not removed (%v)", err)
	}
}

func TestSumsAreThoseOfSHA256(t *testing.T) {
	line := fmt.Sprintf("%x  install.yaml\n", sha256.Sum256(read(t, "install.yaml")))
	if !bytes.Contains(read(t, "SHA256SUMS"), []byte(line)) {
		t.Errorf("SHA256SUMS does not have the line %s", line)
	}
}
