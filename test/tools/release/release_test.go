package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

// built is a release that all tests share.
var built struct {
	dir     string // with the files of the release
	sources string // a copy of the sources
	options Options
}

// TestMain builds one release. Windows and Linux have different archives of the plugin; to save
// time, the other platforms are built only by `make release`.
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
		Time: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), Plugins: []Platform{{"linux", "amd64"}, {"windows", "arm64"}}, Log: io.Discard,
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

// unpack writes the files of an archive of the release into a directory.
func unpack(t *testing.T, name, dir string) {
	t.Helper()
	archive := tar.NewReader(bytes.NewReader(read(t, name)))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := io.ReadAll(archive)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, h.Name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, h.Name), data, h.FileInfo().Mode())
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// unpackLayer unpacks the only image of an archive of the release, which has one layer, and
// returns the directory.
func unpackLayer(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	unpack(t, name, dir)
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = inner.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if _, err := path.Bytes(m.Digest); err != nil {
			continue // the image of another platform, which is not in the archive
		}
		image, err := inner.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		content := mutate.Extract(image)
		defer content.Close()
		target := t.TempDir()
		command := exec.Command("tar", "-x", "-C", target)
		command.Stdin = content
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return target
	}
	t.Fatalf("%s has no image", name)
	return ""
}

// imageDigest returns the digest of the image of all platforms, from the archive's index.
func imageDigest(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	unpack(t, "cloud-provider-baremetal-9.8.7-image.oci.tar", dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the archive has %d images", len(manifest.Manifests))
	}
	return manifest.Manifests[0].Digest.String()
}

func TestReleaseHasAllFilesAndTheirSums(t *testing.T) {
	want := []string{
		"CHANGELOG.md", "SHA256SUMS", "cloud-provider-baremetal-9.8.7-image-linux-amd64.tar", "cloud-provider-baremetal-9.8.7-image-linux-arm64.tar",
		"cloud-provider-baremetal-9.8.7-image.oci.tar", "cloud-provider-baremetal-9.8.7-image.spdx.json", "cloud-provider-baremetal-9.8.7.tgz", "install.yaml",
		"kubectl-baremetal-9.8.7-linux-amd64.tar.gz", "kubectl-baremetal-9.8.7-windows-arm64.zip", "kubectl-baremetal-9.8.7.spdx.json",
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

func TestManifestNamesTheImageByTagAndDigest(t *testing.T) {
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
	if image, _ := c.Values["image"].(map[string]any); image["repository"] != "registry.example.com/lb" {
		t.Errorf("the chart has the image repository %v", image["repository"])
	}
	if len(c.Raw) != len(source.files) {
		t.Errorf("the package has %d files, the chart of the sources %d", len(c.Raw), len(source.files))
	}
}

// config is what an image says about itself.
type config struct {
	Architecture, OS string
	Created          time.Time
	Config           struct {
		User   string
		Labels map[string]string
	}
}

func TestImageNamesVersionCommitAndPlatform(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "cloud-provider-baremetal-9.8.7-image.oci.tar", dir)
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if name := manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; name != "v9.8.7" {
		t.Errorf("the archive has the tag %s", name)
	}
	inner, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = inner.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		image, err := inner.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := image.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		var c config
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		platforms = append(platforms, m.Platform.String())
		if c.OS+"/"+c.Architecture != m.Platform.String() || c.Config.User != "65532:65532" || !c.Created.Equal(built.options.Time) {
			t.Errorf("the image for %s says %+v", m.Platform, c)
		}
		if l := c.Config.Labels; l["org.opencontainers.image.version"] != "v9.8.7" || l["org.opencontainers.image.revision"] != built.options.Commit {
			t.Errorf("the image for %s has the labels %v", m.Platform, l)
		}
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("the image is for %v", platforms)
	}
}

func TestDockerfileHasTheLabelsOfTheRelease(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(built.options.Root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	arguments := strings.NewReplacer("$VERSION", "v1.2.3", "$COMMIT", "abc", "$CREATED", created.Format(time.RFC3339))
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(org\.opencontainers\.image\.\w+)="(.*?)"`).FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = arguments.Replace(m[2])
	}
	want := images.Labels("v1.2.3", "abc", created)
	for name := range want {
		if found[name] != want[name] {
			t.Errorf("the Dockerfile has %s=%q, the release %q", name, found[name], want[name])
		}
	}
	if len(found) != len(want) {
		t.Errorf("the Dockerfile has %d labels, the release %d", len(found), len(want))
	}
}

func TestPluginIsPackedWithItsLicense(t *testing.T) {
	license, err := os.ReadFile(filepath.Join(built.options.Root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	uncompressed, err := gzip.NewReader(bytes.NewReader(read(t, "kubectl-baremetal-9.8.7-linux-amd64.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(uncompressed); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o", h.Name, h.Mode))
		if !h.ModTime.Equal(built.options.Time) {
			t.Errorf("%s has the time %v", h.Name, h.ModTime)
		}
		if text, err := io.ReadAll(archive); h.Name == "LICENSE" && (err != nil || !bytes.Equal(text, license)) {
			t.Errorf("the license has %d bytes, want %d (%v)", len(text), len(license), err)
		}
	}
	if want := []string{"LICENSE 644", "kubectl-baremetal 755"}; !slices.Equal(names, want) {
		t.Errorf("the archive for Linux has %v, want %v", names, want)
	}
	data := read(t, "kubectl-baremetal-9.8.7-windows-arm64.zip")
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	names = nil
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	if want := []string{"LICENSE", "kubectl-baremetal.exe"}; !slices.Equal(names, want) {
		t.Errorf("the archive for Windows has %v, want %v", names, want)
	}
}

func TestSBOMListsTheModulesOfThePrograms(t *testing.T) {
	for name, want := range map[string][]string{
		"cloud-provider-baremetal-9.8.7-image.spdx.json": {"baremetal-cloud-controller-manager", "baremetal-speaker", "github.com/osrg/gobgp/v4", "k8s.io/cloud-provider", "stdlib"},
		"kubectl-baremetal-9.8.7.spdx.json":              {"kubectl-baremetal", "k8s.io/cli-runtime", "stdlib"},
	} {
		document, err := spdxjson.Read(bytes.NewReader(read(t, name)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := spdxlib.ValidateDocument(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		versions := map[string]string{}
		identifiers := map[string]bool{}
		for _, p := range document.Packages {
			versions[p.PackageName] = p.PackageVersion
			if id := string(p.PackageSPDXIdentifier); identifiers[id] {
				t.Errorf("%s has %s twice", name, id)
			} else {
				identifiers[id] = true
			}
		}
		for _, p := range want {
			if versions[p] == "" {
				t.Errorf("%s does not list %s", name, p)
			}
		}
		if got, want := "go"+versions["stdlib"], runtime.Version(); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
		if document.CreationInfo.Created != "2024-02-29T12:00:00Z" {
			t.Errorf("%s was created %s", name, document.CreationInfo.Created)
		}
	}
	if image := read(t, "cloud-provider-baremetal-9.8.7-image.spdx.json"); !bytes.Contains(image, []byte(strings.TrimPrefix(imageDigest(t), "sha256:"))) {
		t.Error("the SBOM of the image does not name the image's digest")
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
		"Unreleased": "\n\n- new [a](docs/a.md#x)\n\n### Fixed\n\n- b\n",
		"0.2.0":      "\n\n- c\n",
		"0.2.0-rc.1": "\n\n- d\n",
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
