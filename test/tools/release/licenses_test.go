package main

import (
	"bytes"
	"debug/buildinfo"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// licensed returns the modules in a file with licenses, like "golang.org/x/net v0.62.0".
func licensed(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+ v\d\S+|Go's standard library go\S+): `).FindAllSubmatch(text, -1) {
		found[string(m[1])] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// linked returns the modules that Go's linker has noted in programs.
func linked(t *testing.T, programs ...string) []string {
	t.Helper()
	found := map[string]bool{}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			found[m.Path+" "+m.Version] = true
		}
		found["Go's standard library "+info.GoVersion] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func sameModules(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(want) < 20 {
		t.Errorf("%s: the programs have only the modules %v", what, want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the licenses are of\n%s\nthe programs contain\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The archives of this test have licenses of the modules of all platforms. So the programs of all platforms are read.
func TestLicensesAreThoseOfTheLinkedModules(t *testing.T) {
	license, err := os.ReadFile(filepath.Join(built.options.Root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	var programs, dirs []string
	for _, p := range imagePlatforms {
		dir := unpackLayer(t, "cloud-provider-baremetal-9.8.7-image-"+p.String()+".tar")
		dirs = append(dirs, dir)
		for _, name := range imagePrograms {
			programs = append(programs, filepath.Join(dir, name))
		}
	}
	for _, dir := range dirs {
		sameModules(t, "image", licensed(t, filepath.Join(dir, licensesName)), linked(t, programs...))
		if text, err := os.ReadFile(filepath.Join(dir, "LICENSE")); err != nil || !bytes.Equal(text, license) {
			t.Errorf("the license of the project in the image has %d bytes, want %d (%v)", len(text), len(license), err)
		}
	}

	programs, dirs = nil, nil
	for _, p := range imagePlatforms { // for which programsOf unpacks the plugin, too
		dir := programsOf(t, p)
		dirs = append(dirs, dir)
		programs = append(programs, filepath.Join(dir, pluginName))
	}
	programs = append(programs, windowsPlugin(t))
	for _, dir := range dirs {
		sameModules(t, "plugin", licensed(t, filepath.Join(dir, licensesName)), linked(t, programs...))
	}
}

func TestChartIsPackedWithItsLicense(t *testing.T) {
	license, err := os.ReadFile(filepath.Join(built.options.Root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadArchive(bytes.NewReader(read(t, "cloud-provider-baremetal-9.8.7.tgz")))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range c.Files {
		if file.Name == "LICENSE" && bytes.Equal(file.Data, license) {
			return
		}
	}
	t.Errorf("the package of the chart has no license among %d files", len(c.Files))
}

// The image that `make image` makes has the same files as that of a release.
func TestDockerfileHasTheFilesOfTheRelease(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(built.options.Root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	copied := regexp.MustCompile(`(?m)^COPY --from=build (.*) /$`).FindSubmatch(text)
	if copied == nil {
		t.Fatal("the Dockerfile copies no files")
	}
	var got, want []string
	for path := range strings.FieldsSeq(string(copied[1])) {
		got = append(got, filepath.Base(path))
	}
	entries, err := os.ReadDir(unpackLayer(t, "cloud-provider-baremetal-9.8.7-image-linux-amd64.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want = append(want, e.Name())
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("the Dockerfile copies %v, and the image of the release has %v", got, want)
	}
}
