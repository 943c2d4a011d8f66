package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rhysd/actionlint"
)

const workflows = "../../../.github/workflows"

func TestWorkflowsHaveNoErrors(t *testing.T) {
	var out bytes.Buffer
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := linter.LintDir(workflows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Errorf("actionlint found errors:\n%s", out.String())
	}
}

// A tag can be moved to another commit, and the workflows have the right to publish.
func TestWorkflowsPinActionsByCommit(t *testing.T) {
	uses := regexp.MustCompile(`(?m)^ *-? *uses: (.*)$`)
	pinned := regexp.MustCompile(`^(\./.*|[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`)
	files, err := filepath.Glob(filepath.Join(workflows, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	actions := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range uses.FindAllStringSubmatch(string(text), -1) {
			actions++
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: write uses: %s with a commit and its version", filepath.Base(file), m[1])
			}
		}
	}
	if actions == 0 {
		t.Errorf("the workflows use no action")
	}
}
