// Command release builds all files of a release into one directory: the manifest, the chart,
// the images, the plugin of kubectl, and lists of what they contain. It needs no container
// engine. The same commit gives the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	o := Options{Root: "../../..", Plugins: pluginPlatforms, Log: os.Stderr}
	flag.StringVar(&o.Version, "version", "", "the version, like v0.2.0")
	flag.StringVar(&o.ImageRepository, "image-repository", "", "where nodes pull the image, without a tag (default: the repository in the chart's values.yaml)")
	flag.StringVar(&o.Output, "output", "dist", "the directory to write; an earlier release in it is removed first")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o Options) (err error) {
	if o.Commit, err = commit(ctx, o.Root); err != nil {
		return err
	}
	if strings.HasSuffix(o.Commit, "-dirty") {
		fmt.Fprintln(o.Log, "Warning: there are changes that are not committed. Nobody else can build the same files.")
	}
	if o.Time, err = commitTime(ctx, o.Root); err != nil {
		return err
	}
	return Build(ctx, o)
}

// commit returns the commit of the sources, with the suffix -dirty if files differ from it.
func commit(ctx context.Context, root string) (string, error) {
	return git(ctx, root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
}

// commitTime returns the time of all files: that of the commit, or SOURCE_DATE_EPOCH
// (https://reproducible-builds.org/specs/source-date-epoch/).
func commitTime(ctx context.Context, root string) (time.Time, error) {
	source, text := "the environment variable SOURCE_DATE_EPOCH", os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		source = "the commit"
		if text, err = git(ctx, root, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the time of %s: %w", source, err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
