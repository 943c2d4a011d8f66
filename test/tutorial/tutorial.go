// Package tutorial runs the commands of a Markdown page, and compares their output with
// the output that the page shows.
package tutorial

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Step is a title or a command of a page.
type Step struct {
	Title   string
	Command string
	// Output is the output of the command. In it, … stands for any text, and a line that
	// contains only … stands for any number of lines.
	Output string
}

// Parse returns the steps of a page: its titles, and its commands with their output.
// Commands are the lines that begin with "$ " in code blocks of the language console.
func Parse(page string) []Step {
	var steps []Step
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && strings.HasPrefix(line, "$ "):
			steps = append(steps, Step{Command: line[2:]})
		case inside:
			steps[len(steps)-1].Output += line + "\n"
		case strings.HasPrefix(line, "#"):
			steps = append(steps, Step{Title: strings.TrimLeft(line, "# ")})
		}
	}
	return steps
}

var (
	spaces    = regexp.MustCompile(` {2,}`)
	manyLines = regexp.MustCompile(`(?m)^…\n`)
)

// Matches reports whether the output of a command is the output that the page shows. The
// width of columns does not matter.
func (s Step) Matches(output string) bool {
	pattern := regexp.QuoteMeta(squeeze(s.Output))
	pattern = manyLines.ReplaceAllLiteralString(pattern, "(?:.*\n)*")
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(squeeze(output))
}

func squeeze(text string) string { return spaces.ReplaceAllString(text, " ") }

// Shell runs commands one after the other. It keeps the variables of earlier commands.
type Shell struct {
	Dir string
	Env []string

	before string // the assignments of earlier commands
}

// NewShell returns a Shell whose commands run in dir, with kubeconfig and with the
// directory of the program kubectl first in PATH.
func NewShell(dir, kubeconfig, kubectl string) *Shell {
	return &Shell{Dir: dir, Env: append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+filepath.Dir(kubectl)+":"+os.Getenv("PATH"))}
}

var assignment = regexp.MustCompile(`^(\w+)=`)

// Run runs a command and returns its output.
func (s *Shell) Run(ctx context.Context, command string) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", s.before+command)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("running %q: %w", command, err)
	}
	if name := assignment.FindStringSubmatch(command); name != nil {
		s.before += fmt.Sprintf("%s='%s'; ", name[1], strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
