// Command record runs a story on a cluster, and stores what Prometheus would scrape from the programs in that
// time. test/monitoring/draw draws the dashboard from the file. hack/draw-dashboard runs both.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func main() {
	output := flag.String("o", "recording.json.gz", "file for the recording")
	every := flag.Duration("every", 5*time.Second, "time between two scrapes of a program")
	flag.Parse()
	os.Exit(cluster.Main(cluster.Needs{Debian: []string{"bird=bird2", "vtysh=frr"}}, func(env cluster.Env) int {
		if err := record(context.Background(), env, *output, *every); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

// record starts the cluster, and scrapes all programs from before the first Service until the end of the story.
func record(ctx context.Context, env cluster.Env, output string, every time.Duration) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, Pools: pools(5)})
	if err != nil {
		return err
	}
	defer c.Close()
	s := &story{Cluster: c}
	if s.router, err = c.StartRouter(ctx, cluster.RouterOptions{Daemon: "BIRD", BFD: 300 * time.Millisecond}); err != nil {
		return err
	}
	defer s.router.Close()
	if err := s.deploy(ctx); err != nil {
		return err
	}
	scrapes, err := startScrapes(ctx, c, every)
	if err != nil {
		return err
	}
	told := s.tell(ctx)
	scrapes.stop()
	if told != nil {
		return told
	}
	return scrapes.write(output)
}
