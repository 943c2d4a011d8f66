// Command licenses collects the licenses of all Go modules that are linked into programs, in one file. It finds
// their texts in the module cache. The same modules give the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", ".", "the directory of the module with the programs")
	tags := flag.String("tags", "", "the tags with which the programs are built, with commas between them")
	platforms := flag.String("platforms", "", "the platforms, like \"linux/amd64 linux/arm64\" (default: this machine's)")
	output := flag.String("o", "", "the file to write")
	flag.Parse()
	if err := run(*root, *tags, strings.Fields(*platforms), *output, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(root, tags string, platforms []string, output string, programs []string) error {
	if len(platforms) == 0 {
		platforms = []string{""}
	}
	linked := modules{}
	for _, platform := range platforms {
		if err := linked.link(root, tags, platform, programs); err != nil {
			return err
		}
	}
	if err := linked.library(root); err != nil {
		return err
	}
	texts, err := linked.licenses()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return fmt.Errorf("writing the licenses: %w", err)
	}
	if err := os.WriteFile(output, []byte(format(texts)), 0o644); err != nil {
		return fmt.Errorf("writing the licenses: %w", err)
	}
	return nil
}
