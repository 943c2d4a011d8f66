package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree writes files into a new directory, and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func packages(dirs ...string) map[string]bool {
	all := map[string]bool{}
	for _, dir := range dirs {
		all[dir] = true
	}
	return all
}

func TestLicensesOfLinkedPackagesAreFound(t *testing.T) {
	dir := tree(t, map[string]string{
		"LICENSE": "MIT\n", "NOTICE.txt": "notice", "license.go": "package a", "README.md": "", "licenses.txt": "",
		"third/LICENCE.md": "BSD\r\n", "third/deep/a.go": "", "unused/COPYING": "GPL", "third/deep/COPYING": "MIT",
	})
	got, err := modules{"m v1": {dir: dir, packages: packages(".", "third/deep")}}.licenses()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{"MIT": {"m v1: LICENSE", "m v1: third/deep/COPYING"}, "notice": {"m v1: NOTICE.txt"}, "BSD": {"m v1: third/LICENCE.md"}} {
		if !slices.Equal(got[text], want) {
			t.Errorf("the text %q is in %v, want %v", text, got[text], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("there are %d texts, want 3: %v", len(got), got)
	}
}

func TestModuleWithoutALicenseIsAnError(t *testing.T) {
	dir := tree(t, map[string]string{"a.go": "", "unused/LICENSE": "MIT"})
	if _, err := (modules{"m v1": {dir: dir, packages: packages(".")}}).licenses(); err == nil || !strings.Contains(err.Error(), "the module m v1 has no file with a license") {
		t.Errorf("got %v", err)
	}
}

func TestSameTextIsWrittenOnce(t *testing.T) {
	got := format(licenses{"MIT": {"a v1: LICENSE", "c v1: LICENSE"}, "BSD": {"b v1: LICENSE"}})
	_, body, _ := strings.Cut(got, "\n\n")
	if want := line + "a v1: LICENSE\nc v1: LICENSE\n" + line + "\nMIT\n\n" + line + "b v1: LICENSE\n" + line + "\nBSD\n"; body != want {
		t.Errorf("got\n%s\nwant\n%s", body, want)
	}
}

// A replaced module has the license of its replacement.
func TestModulesAreThoseThatAreLinked(t *testing.T) {
	m := modules{}
	for _, p := range []goPackage{
		{ImportPath: "fmt", Standard: true},
		{ImportPath: "ours/a", Dir: "/ours/a", Module: &goModule{Path: "ours", Dir: "/ours", Main: true}},
		{ImportPath: "x/a", Dir: "/cache/x/a", Module: &goModule{Path: "x", Version: "v1", Dir: "/cache/x"}},
		{ImportPath: "x", Dir: "/cache/x", Module: &goModule{Path: "x", Version: "v1", Dir: "/cache/x"}},
		{ImportPath: "y", Dir: "/cache/fork", Module: &goModule{Path: "y", Version: "v1", Replace: &goModule{Path: "fork", Version: "v2", Dir: "/cache/fork"}}},
	} {
		if err := m.add(p); err != nil {
			t.Fatal(err)
		}
	}
	if len(m) != 2 || m["x v1"] == nil || !m["x v1"].packages["a"] || !m["x v1"].packages["."] || m["fork v2"] == nil {
		t.Errorf("the modules are %v", m)
	}
	if err := m.add(goPackage{ImportPath: "z", Dir: "/elsewhere", Module: &goModule{Path: "z", Version: "v1", Dir: "/cache/z"}}); err == nil {
		t.Error("a package outside of its module is accepted")
	}
}
