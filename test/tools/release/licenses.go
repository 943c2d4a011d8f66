package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// licensesName is the name of the file with the licenses of the Go modules that are linked into programs.
const licensesName = "THIRD_PARTY_LICENSES"

// buildLicenses writes the licenses of the modules in programs with `make licenses` into the directory bin, and
// returns the path of the file. One file has the modules of all platforms.
func buildLicenses(ctx context.Context, o Options, platforms []Platform, bin string, programs ...string) (string, error) {
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = p.OS + "/" + p.Arch
	}
	if err := o.make(ctx, nil, "licenses", bin, programs, "PLATFORMS="+strings.Join(names, " ")); err != nil {
		return "", fmt.Errorf("collecting the licenses of %s: %w", strings.Join(programs, " and "), err)
	}
	return filepath.Join(bin, licensesName), nil
}

// license returns the license of this project.
func (o Options) license() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(o.Root, "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("reading the license: %w", err)
	}
	return text, nil
}
