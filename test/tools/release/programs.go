package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Platform is an operating system and an architecture, in Go's words.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "-" + p.Arch }

// imagePlatforms are the platforms of the nodes.
var imagePlatforms = []Platform{{"linux", "amd64"}, {"linux", "arm64"}}

// pluginPlatforms are the platforms of those who use kubectl.
var pluginPlatforms = []Platform{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// buildPrograms builds programs with `make build` into the directory bin.
func buildPrograms(ctx context.Context, o Options, p Platform, bin string, programs ...string) error {
	fmt.Fprintf(o.Log, "building %s for %s\n", strings.Join(programs, " and "), p)
	// The oldest processors of each architecture can run the programs, whatever the
	// environment says.
	env := []string{"GOOS=" + p.OS, "GOARCH=" + p.Arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0"}
	if err := o.make(ctx, env, "build", bin, programs, "VERSION="+o.Version, "COMMIT="+o.Commit); err != nil {
		return fmt.Errorf("building %s for %s: %w", strings.Join(programs, " and "), p, err)
	}
	return nil
}

// make makes a target of the Makefile for programs. It writes into the directory bin.
func (o Options) make(ctx context.Context, env []string, target, bin string, programs []string, variables ...string) error {
	packages := make([]string, len(programs))
	for i, name := range programs {
		packages[i] = "./cmd/" + name
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	args := append([]string{"--no-print-directory", "-C", o.Root, target, "BIN=" + bin + "/", "PROGRAMS=" + strings.Join(packages, " ")}, variables...)
	command := exec.CommandContext(ctx, "make", args...)
	command.Env = append(os.Environ(), env...)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", target, err, text)
	}
	return nil
}
