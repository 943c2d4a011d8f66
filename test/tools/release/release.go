package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
)

// project is the name of the product, of its chart, and of its image.
const project = "cloud-provider-baremetal"

// sumsName is the name of the file with the checksums.
const sumsName = "SHA256SUMS"

// Options say what to build.
type Options struct {
	// Root is the directory with the sources.
	Root string
	// Output is the directory for the files. An earlier release in it is removed first.
	Output string
	// Version is the version of the release, like "v0.2.0".
	Version string
	// ImageRepository is where nodes pull the image, without a tag. Empty means the repository
	// in the chart's values.
	ImageRepository string
	// Commit is the commit of the sources. The programs and the image name it.
	Commit string
	// Time is the time of all files in the archives.
	Time time.Time
	// Plugins are the platforms of the plugin of kubectl.
	Plugins []Platform
	// Log gets a line for each build and each file.
	Log io.Writer
}

// plain returns the version without the v, as the names of files and the chart have it.
func (o Options) plain() string { return strings.TrimPrefix(o.Version, "v") }

// check returns an error if the version or the repository cannot be used.
func (o Options) check() error {
	v, err := semver.StrictNewVersion(o.plain())
	if err != nil || !strings.HasPrefix(o.Version, "v") || v.Metadata() != "" {
		return fmt.Errorf("the version %q is not one like v0.2.0 or v0.2.0-rc.1: give another one", o.Version)
	}
	if _, err := name.NewRepository(o.ImageRepository); err != nil {
		return fmt.Errorf("the image repository %q cannot be used: write it like registry.example.com/%s, without a tag: %w", o.ImageRepository, project, err)
	}
	return nil
}

// Build writes all files of a release.
func Build(ctx context.Context, o Options) error {
	c, err := readChart(o.Root)
	if err != nil {
		return err
	}
	if o.ImageRepository == "" {
		o.ImageRepository = c.repository()
	}
	if err := o.check(); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	out, err := newOutput(o)
	if err != nil {
		return err
	}

	image, err := buildImage(ctx, o, work)
	if err != nil {
		return err
	}
	plugins, err := buildPlugins(ctx, o, work)
	if err != nil {
		return err
	}
	pluginLicenses, err := buildLicenses(ctx, o, o.Plugins, filepath.Join(work, "plugin-licenses"), pluginName)
	if err != nil {
		return err
	}
	for _, write := range []func() error{
		func() error { return out.image(image, work) },
		func() error { return out.manifest(image) },
		func() error { return out.chart(c) },
		func() error { return out.plugins(plugins, pluginLicenses) },
		func() error { return out.sboms(image, plugins) },
		func() error { return out.changelog() },
		func() error { return out.sums() },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// output writes the files of a release.
type output struct {
	Options
	names []string // of the files that are written
}

// newOutput returns an output with an empty directory. It removes only what an earlier release
// has left.
func newOutput(o Options) (*output, error) {
	if entries, err := os.ReadDir(o.Output); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(o.Output, sumsName)); err != nil {
			return nil, fmt.Errorf("the directory %s has files, but no %s of an earlier release: remove it, or name another one with -output", o.Output, sumsName)
		}
	}
	if err := os.RemoveAll(o.Output); err != nil {
		return nil, fmt.Errorf("removing the last release: %w", err)
	}
	if err := os.MkdirAll(o.Output, 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory of the release: %w", err)
	}
	return &output{Options: o}, nil
}

// file writes a file with what write gives it.
func (out *output) file(name string, write func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(out.Output, name))
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	out.names = append(out.names, name)
	fmt.Fprintln(out.Log, f.Name())
	return f.Close()
}

// text writes a file with this text.
func (out *output) text(name, text string) error {
	return out.file(name, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// sums writes the checksums of all other files, as `sha256sum -c` reads them.
func (out *output) sums() error {
	var lines strings.Builder
	for _, name := range out.names {
		f, err := os.Open(filepath.Join(out.Output, name))
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		fmt.Fprintf(&lines, "%x  %s\n", sum.Sum(nil), name)
	}
	return out.text(sumsName, lines.String())
}
