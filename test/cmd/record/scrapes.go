package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// scrape is one scrape of one program.
type scrape struct {
	Time   time.Time         `json:"time"`
	Labels map[string]string `json:"labels"` // that Prometheus adds to each sample, see servicemonitors.yaml
	Up     bool              `json:"up"`     // false: Prometheus did not get the page
	Page   string            `json:"page,omitempty"`
}

// target is a program that is scraped.
type target struct {
	labels map[string]string
	get    func(context.Context) (string, error)
}

// scrapes are the scrapes of all programs.
type scrapes struct {
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu  sync.Mutex
	all []scrape
}

// startScrapes scrapes each program every so often, until stop is called.
func startScrapes(ctx context.Context, c *cluster.Cluster, every time.Duration) (*scrapes, error) {
	targets, err := targetsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &scrapes{cancel: cancel}
	for _, t := range targets {
		s.work.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				s.scrape(ctx, t)
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return s, nil
}

func (s *scrapes) scrape(ctx context.Context, t target) {
	begun := time.Now()
	page, err := t.get(ctx)
	if ctx.Err() != nil {
		return // stop has interrupted it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, scrape{Time: begun, Labels: t.labels, Up: err == nil, Page: page})
}

func (s *scrapes) stop() {
	s.cancel()
	s.work.Wait()
}

// write writes the scrapes to a file, as JSON, one a line, compressed by gzip.
func (s *scrapes) write(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed := gzip.NewWriter(file)
	lines := json.NewEncoder(compressed)
	for _, one := range s.all {
		if err := lines.Encode(one); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return compressed.Close()
}

// targetsOf returns the programs of the cluster, with the labels that Prometheus gives them. They are scraped
// over the segment, so a node without power gives no answer.
func targetsOf(ctx context.Context, c *cluster.Cluster) (targets []target, err error) {
	token, err := scraper(ctx, c)
	if err != nil {
		return nil, err
	}
	labels := func(program, instance, pod string) map[string]string {
		return map[string]string{"job": program + "-metrics", "service": program + "-metrics", "namespace": "baremetal-system", "container": program, "instance": instance, "pod": pod}
	}
	for i, n := range c.Nodes() {
		own := labels("baremetal-speaker", n.Addr()+":7472", "baremetal-speaker-"+[]string{"7k2xq", "d9m4v", "w5t8c"}[i%3])
		own["endpoint"], own["node"] = "metrics", n.Name
		targets = append(targets, target{own, func(ctx context.Context) (string, error) {
			status, page, err := n.Scrape(ctx, token)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("HTTP status %d: %s", status, page)
			}
			return page, err
		}})
	}
	own := labels("baremetal-cloud-controller-manager", "192.168.120.1:10258", "baremetal-cloud-controller-manager-6f9c8-hx2pl")
	own["endpoint"] = "https"
	return append(targets, target{own, func(ctx context.Context) (string, error) {
		return c.GetCCM(ctx, c.CCMs()[0], "/metrics")
	}}), nil
}

// scraper makes a service account that may read the metrics, and returns a token of it.
func scraper(ctx context.Context, c *cluster.Cluster) (token string, err error) {
	for _, args := range []string{
		"create serviceaccount prometheus",
		"create clusterrolebinding prometheus --clusterrole=baremetal-metrics-reader --serviceaccount=default:prometheus",
		"create token prometheus --duration=1h",
	} {
		if token, err = c.Kubectl(ctx, strings.Fields(args)...); err != nil {
			return "", err
		}
	}
	return strings.TrimSpace(token), nil
}
