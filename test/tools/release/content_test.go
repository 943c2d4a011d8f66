package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

func TestPluginIsPackedWithItsLicenses(t *testing.T) {
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
	if want := []string{"LICENSE 644", "THIRD_PARTY_LICENSES 644", "kubectl-baremetal 755"}; !slices.Equal(names, want) {
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
	if want := []string{"LICENSE", "THIRD_PARTY_LICENSES", "kubectl-baremetal.exe"}; !slices.Equal(names, want) {
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
