package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is a Go module that is linked into a program.
type module struct {
	dir string // of its files
	// packages are the directories of its packages that are linked, relative to dir. A package can have a license of
	// its own.
	packages map[string]bool
}

// modules are modules by their name and version: "golang.org/x/net v0.62.0".
type modules map[string]*module

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath, Dir string
	Standard        bool
	Module          *goModule
}

type goModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *goModule
}

// link adds all modules that are linked into the programs for a platform, OS/ARCHITECTURE, or for this machine.
func (m modules) link(root, tags, platform string, programs []string) error {
	args := append([]string{"list", "-deps", "-tags=" + tags, "-json=ImportPath,Dir,Standard,Module"}, programs...)
	var env []string
	if goos, arch, ok := strings.Cut(platform, "/"); ok {
		env = []string{"GOOS=" + goos, "GOARCH=" + arch}
	}
	out, err := runGo(root, env, args...)
	if err != nil {
		return err
	}
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the packages of %s: %w", strings.Join(programs, ", "), err)
		}
		if err := m.add(p); err != nil {
			return err
		}
	}
}

func (m modules) add(p goPackage) error {
	if p.Standard || p.Module == nil || p.Module.Main {
		return nil
	}
	used := p.Module
	if used.Replace != nil {
		used = used.Replace
	}
	sub, err := filepath.Rel(used.Dir, p.Dir)
	if err != nil || strings.HasPrefix(sub, "..") {
		return fmt.Errorf("the package %s is in %s, outside of its module in %s", p.ImportPath, p.Dir, used.Dir)
	}
	name := used.Path + " " + used.Version
	if m[name] == nil {
		m[name] = &module{dir: used.Dir, packages: map[string]bool{}}
	}
	m[name].packages[sub] = true
	return nil
}

// library adds Go's standard library, which is linked into every program.
func (m modules) library(root string) error {
	out, err := runGo(root, nil, "env", "GOVERSION", "GOROOT")
	if err != nil {
		return err
	}
	version, dir, _ := strings.Cut(strings.TrimSpace(out), "\n")
	m["Go's standard library "+version] = &module{dir: dir, packages: map[string]bool{".": true}}
	return nil
}

// runGo runs the go command as `make build` runs it, and returns its output.
func runGo(root string, env []string, args ...string) (string, error) {
	command := exec.Command("go", args...)
	command.Dir, command.Stderr = root, os.Stderr
	command.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="), env...)
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("running go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}
