package view

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// Witness asks a host that is no speaker whether the network of this node works in
// both directions, whenever the heartbeats need to know. It asks the default gateway by
// ARP, if the gateway is on a link that is announced on. Otherwise it asks the API
// server; that may work although the link is dead.
type Witness struct {
	heartbeat *heartbeat.Heartbeat
	client    kubernetes.Interface
	exclude   *regexp.Regexp
	patience  time.Duration
	log       *slog.Logger
}

// NewWitness returns a Witness. detection is the detection time of the heartbeats.
func NewWitness(h *heartbeat.Heartbeat, client kubernetes.Interface, exclude *regexp.Regexp, detection time.Duration, log *slog.Logger) *Witness {
	return &Witness{heartbeat: h, client: client, exclude: exclude, patience: max(detection, time.Second), log: log}
}

// Run asks until ctx ends. It returns nil when all requests have ended.
func (w *Witness) Run(ctx context.Context) error {
	var requests sync.WaitGroup
	defer requests.Wait()
	for {
		select {
		case <-w.heartbeat.WitnessWanted():
			requests.Go(func() { w.testify(ctx) })
		case <-ctx.Done():
			return nil
		}
	}
}

// testify asks once, and tells the heartbeats about an answer.
func (w *Witness) testify(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	if err := w.ask(asking); err != nil {
		w.log.Debug("no witness has answered", "error", err)
		return
	}
	w.heartbeat.Testify(ctx)
}

func (w *Witness) ask(ctx context.Context) error {
	ls, err := links.List(w.exclude, nil)
	if err != nil {
		return err
	}
	if gateway, index, err := links.Gateway(); err == nil {
		for _, l := range ls {
			if l.Index == index {
				return layer2.Ask(ctx, layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}, l.IPv4.Addr(), gateway)
			}
		}
	}
	if _, err := w.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	return nil
}
