package main

import (
	"os"
	"regexp"
	"testing"
)

// sameVersion checks that the same version is in all files: what a regular expression finds,
// by file.
func sameVersion(t *testing.T, patterns map[string]string) {
	t.Helper()
	files := map[string][]string{} // by version
	for file, pattern := range patterns {
		text, err := os.ReadFile("../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindAllSubmatch(text, -1)
		if found == nil {
			t.Errorf("%s has no version like %s", file, pattern)
		}
		for _, m := range found {
			files[string(m[1])] = append(files[string(m[1])], file)
		}
	}
	if len(files) > 1 {
		t.Errorf("the files have different versions: %v", files)
	}
}

// The manifests of the sources name the image that `make image` makes.
func TestSourcesNameOneVersion(t *testing.T) {
	sameVersion(t, map[string]string{
		"Makefile":                     `(?m)^VERSION \?= v(\S+)$`,
		"Dockerfile":                   `(?m)^ARG VERSION=v(\S+)$`,
		"manifests/kustomization.yaml": `(?m)newTag: v(\S+)$`,
		"manifests/helm/Chart.yaml":    `(?m)^(?:version: |appVersion: v)(\S+)$`,
		"test/cluster/packing.go":      `ourImage = "cloud-provider-baremetal:v([^"]+)"`,
	})
}

// Another version of Go gives other bytes.
func TestGoVersionIsTheSameEverywhere(t *testing.T) {
	sameVersion(t, map[string]string{
		"Dockerfile":                     `FROM golang:(\S+) AS`,
		".github/workflows/ci.yaml":      `image: golang:([0-9.]+)`,
		".github/workflows/release.yaml": `go-version: (\S+)`,
	})
}
