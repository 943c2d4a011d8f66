package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

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
