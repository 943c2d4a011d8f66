package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

var update = flag.Bool("update", false, "write the commands to docs/reference/kubectl-baremetal.md")

const docsPage = "../../docs/reference/kubectl-baremetal.md"

// commands returns all commands that people use, and those that cobra adds.
func commands() []*cobra.Command {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	root := rootCommand(streams)
	root.InitDefaultCompletionCmd()
	var all []*cobra.Command
	for _, command := range root.Commands() {
		if command.IsAvailableCommand() {
			all = append(all, command)
		}
	}
	return all
}

// describe returns the section of a command.
func describe(command *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s.\n\n```\n", command.Name(), strings.TrimSuffix(command.Short, "."))
	if command.HasAvailableSubCommands() { // completion: its help is long, and cobra's
		for _, sub := range command.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "%s\n", sub.CommandPath())
			}
		}
		b.WriteString("```\n")
		return b.String()
	}
	var help bytes.Buffer
	fmt.Fprintf(&help, "%s\n", command.UseLine())
	if command.Long != "" {
		fmt.Fprintf(&help, "\n%s\n", command.Long)
	}
	if command.Example != "" {
		fmt.Fprintf(&help, "\nExamples:\n%s\n", command.Example)
	}
	local := pflag.NewFlagSet("", pflag.ContinueOnError)
	command.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			local.AddFlag(f)
		}
	})
	if local.HasFlags() {
		fmt.Fprintf(&help, "\nFlags:\n%s", local.FlagUsages())
	}
	for line := range strings.Lines(help.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String() + "```\n"
}

func TestCommandsAreDocumented(t *testing.T) {
	const begin, end = "<!-- begin commands -->\n", "<!-- end commands -->\n"
	text, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", docsPage, begin, end)
	}
	var sections []string
	for _, command := range commands() {
		sections = append(sections, describe(command))
	}
	now := strings.Join(sections, "\n")
	if old == now {
		return
	}
	if !*update {
		t.Fatalf("%s differs from --help: run go test ./cmd/kubectl-baremetal -run Documented -update", docsPage)
	}
	if err := os.WriteFile(docsPage, []byte(before+begin+now+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCommandsHaveExamplesThatCanBeParsed(t *testing.T) {
	for _, command := range commands() {
		if command.Name() == "completion" {
			continue // cobra's
		}
		if command.Example == "" {
			t.Errorf("%s has no example", command.Name())
		}
		for _, path := range strings.Split(command.Example, "kubectl baremetal ")[1:] {
			line, _, _ := strings.Cut(path, "\n")
			line, _, _ = strings.Cut(line, "|")
			line, _, _ = strings.Cut(line, ">")
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != command.Name() {
				t.Errorf("%s: the example %q is of another command", command.Name(), line)
				continue
			}
			if err := command.ParseFlags(words[1:]); err != nil {
				t.Errorf("%s: the example %q: %v", command.Name(), line, err)
			}
		}
	}
}
