package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"sigs.k8s.io/yaml"
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

// jobs are the jobs of the workflow that publishes.
type jobs struct {
	Env  map[string]string
	Jobs map[string]struct {
		Steps []struct {
			Name, Run string
			Env       map[string]string
		}
	}
}

// The name of a tag reaches the shell and make. Whoever may push a tag must not be able to publish.
func TestWorkflowRefusesATagThatIsNoVersion(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(workflows, "release.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow jobs
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	steps := workflow.Jobs["publish"].Steps
	if len(steps) < 5 || steps[0].Run == "" || workflow.Env["VERSION"] != "${{ github.ref_name }}" {
		t.Fatalf("the job publish does not begin with a check of VERSION, which is %q", workflow.Env["VERSION"])
	}
	for _, step := range steps {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("the step %q has an expression in its script: pass the value in the environment", step.Name)
		}
	}
	for version, want := range map[string]bool{
		"v0.2.0": true, "v10.20.30": true, "v0.2.0-rc.1": true,
		"v0.2.0'$(touch${IFS}x)'": false, "v0.2.0;id": false, "v0.2.0$(id)": false, "v0.2.0`id`": false, "v0.2.0-rc|id": false,
		"v0.2.0-rc'": false, "v0.2": false, "0.2.0": false, "v0.2.0\nid": false, "v0.2.0+build": false, "": false,
	} {
		check := exec.Command("bash", "-e", "-o", "pipefail", "-c", steps[0].Run) // as GitHub runs it
		check.Env = append(os.Environ(), "VERSION="+version)
		if out, err := check.CombinedOutput(); (err == nil) != want {
			t.Errorf("the tag %q is accepted: %v, want %v\n%s", version, err == nil, want, out)
		}
	}
}

func TestMakeReleaseRunsNothingThatIsInItsVariables(t *testing.T) {
	made := filepath.Join(t.TempDir(), "made")
	evil := "v0.2.0'; touch " + made + "; '\"; touch " + made + "; \""
	for _, command := range []*exec.Cmd{
		exec.Command("make", "-C", built.options.Root, "release", "VERSION="+evil),
		exec.Command("make", "-C", built.options.Root, "release", "VERSION=v0.2.0", "IMAGE_REPOSITORY="+evil),
		exec.Command("env", "VERSION="+evil, "make", "-C", built.options.Root, "release"),
	} {
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "give another one") && !strings.Contains(string(out), "cannot be used") {
			t.Errorf("%v: %v\n%s", command.Args, err, out)
		}
		if _, err := os.Stat(made); err == nil {
			t.Fatalf("%v runs a command in the variable", command.Args)
		}
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
