package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// tellTutorial runs the commands of docs/tutorial.md on nodes with kubelets. A
// cluster that is kept is left before its last chapter, which cleans up.
func tellTutorial(ctx context.Context, env cluster.Env, keep bool) error {
	page, err := os.ReadFile(filepath.Join(env.Root, "docs", "tutorial.md"))
	if err != nil {
		return err
	}
	s := &story{ctx: ctx, env: env, step: 1, vip: "192.168.120.200"}
	s.title("A bare-metal cluster of four nodes with kubelets, in network namespaces of this machine")
	start := time.Now()
	if s.Cluster, err = cluster.Start(ctx, env, cluster.Options{Speakers: 4, Full: true}); err != nil {
		return err
	}
	defer s.Close()
	s.say("Up after %.0f s. What follows are the commands of docs/tutorial.md.", time.Since(start).Seconds())
	shell := tutorial.NewShell(env.Root, s.Kubeconfig(), s.Binary("kubectl"))
	for _, step := range tutorial.Parse(string(page))[1:] {
		if step.Title == "Clean up" && keep {
			break
		}
		if step.Title != "" {
			s.title(step.Title)
			continue
		}
		s.command(step.Command)
		out, err := shell.Run(ctx, step.Command)
		for line := range strings.Lines(out) {
			fmt.Print("      ", line)
		}
		if err != nil {
			return err
		}
	}
	if keep {
		return s.leaveUp()
	}
	s.title("The end")
	s.say("The cluster and its namespaces go now. `make demo FULL=1 KEEP=1` leaves them up to play with.")
	return nil
}
