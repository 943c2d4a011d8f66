package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// previousImage is the name of the image of the previous commit.
const previousImage = "cloud-provider-baremetal:previous"

// Previous returns the directory with the product as it was one commit ago. It exists if
// Needs.Previous is set. Its manifests name an image that full nodes have.
func (e Env) Previous() string { return filepath.Join(e.Dir, "previous") }

// buildPrevious builds the previous commit from git.
func buildPrevious(e Env) error {
	if err := os.Mkdir(e.Previous(), 0o755); err != nil {
		return err
	}
	archive := filepath.Join(e.Dir, "previous.tar")
	for _, args := range [][]string{
		{"git", "-C", e.Root, "archive", "--output=" + archive, "HEAD^"},
		{"tar", "-x", "-C", e.Previous(), "-f", archive},
		{"rm", archive},
		{"make", "--no-print-directory", "-C", e.Previous(), "build"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("building the previous commit (%s): %w: %s", strings.Join(args, " "), err, out)
		}
	}
	file := filepath.Join(e.Previous(), "manifests", "kustomization.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the manifests of the previous commit: %w", err)
	}
	_, tag, _ := strings.Cut(ourImage, ":")
	changed := strings.Replace(string(text), "newTag: "+tag, "newTag: previous", 1)
	if changed == string(text) {
		return fmt.Errorf("naming the previous image in %s: the file does not contain the tag %s", file, tag)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}
