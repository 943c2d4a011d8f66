package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// tutorialTale is docs/tutorial.md on nodes with kubelets.
func tutorialTale() tale {
	return tale{
		title:   "A bare-metal cluster of four nodes with kubelets, in network namespaces of this machine",
		about:   "What follows are the commands of docs/tutorial.md.",
		cluster: cluster.Options{Speakers: 4, Full: true},
		command: "make demo FULL=1",
		tell:    tellTutorial,
	}
}

// tellTutorial runs the commands of the page. A cluster that is kept is left before
// its last chapter, which cleans up.
func tellTutorial(s *story, keep bool) error {
	page, err := os.ReadFile(filepath.Join(s.env.Root, "docs", "tutorial.md"))
	if err != nil {
		return err
	}
	shell := tutorial.NewShell(s.env.Root, s.Kubeconfig(), s.Binary("kubectl"))
	for _, step := range tutorial.Parse(string(page))[1:] {
		if step.Title == "Clean up" && keep {
			return nil
		}
		if step.Title != "" {
			s.title(step.Title)
			continue
		}
		s.command(step.Command)
		out, err := shell.Run(s.ctx, step.Command)
		for line := range strings.Lines(out) {
			fmt.Print("      ", line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
