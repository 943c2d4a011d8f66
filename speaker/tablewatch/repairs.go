package tablewatch

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
)

// RepairLogInterval is the shortest time between two warnings of Repairs.
const RepairLogInterval = 10 * time.Minute

// Repairs counts how often an owner had to write all of its rules again, and warns of it.
type Repairs struct {
	prometheus.Counter
	rules string
	log   *slog.Logger
	limit *loglimit.Limiter
}

// NewRepairs registers the counter. subsystem is a part of its name.
func NewRepairs(subsystem string, log *slog.Logger, metrics prometheus.Registerer) *Repairs {
	r := &Repairs{rules: subsystem, log: log, limit: loglimit.New(1, RepairLogInterval), Counter: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "baremetal", Subsystem: subsystem, Name: "repairs_total",
		Help: "How often all rules were written again, in most cases because another program has removed them.",
	})}
	metrics.MustRegister(r.Counter)
	return r
}

// Note is called when a change of the rules has failed with an error, before all are written again.
func (r *Repairs) Note(err error) {
	r.Inc()
	if more, ok := r.limit.Allow(""); ok {
		r.log.Warn("the rules of nftables are not as this speaker has written them, writing all of them again", "rules", r.rules, "error", err, "more", more,
			"hint", "if this repeats, another program removes them: look for a service or a job that runs \"nft flush ruleset\", such as nftables.service")
	}
}
