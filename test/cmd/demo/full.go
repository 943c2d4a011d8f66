package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// tutorialPage is the tutorial, below the project's root.
const tutorialPage = "docs/guides/tutorial.md"

// tutorialTale runs the commands of the tutorial on nodes with kubelets.
func tutorialTale() tale {
	return tale{
		title:   "A bare-metal Kubernetes cluster of four nodes, in network namespaces of this machine",
		about:   "Each node has a kubelet and a containerd. The next steps are the commands of " + tutorialPage + ".",
		cluster: cluster.Options{Speakers: 4, Full: true},
		command: "make demo FULL=1",
		tell:    tellTutorial,
	}
}

// tellTutorial runs the commands of the tutorial. If the cluster is kept up, it leaves
// out the last section, which cleans up.
func tellTutorial(s *story, keep bool) error {
	text, err := os.ReadFile(filepath.Join(s.env.Root, tutorialPage))
	if err != nil {
		return err
	}
	shell := tutorial.NewShell(s.env.Root, s.Kubeconfig(), s.Binary("kubectl"))
	for _, step := range tutorial.Parse(string(text))[1:] {
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
