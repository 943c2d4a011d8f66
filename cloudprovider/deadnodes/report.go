package deadnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// begunReport is a report of which pods may be left to mark.
type begunReport struct {
	text   string
	at     time.Time
	marked int
	failed bool // pods could not be marked
}

// goOn marks the pods of a node that could not be marked before, unless Kubernetes knows that it is dead, or
// the speakers do not agree any more.
func (r *Reporter) goOn(ctx context.Context, node string, c *deadCase, dead []string) {
	if !slices.ContainsFunc(r.options.Nodes(), func(n Node) bool { return n.Name == node && n.Ready }) {
		c.decided = true
		r.log.Info("Kubernetes knows that the node is dead, its pods are left to it", "node", node)
		return
	}
	said, _ := r.watch.ask(ctx, node, dead)
	if _, ok := (situation{node: node, said: said}).agreement(); ok {
		r.mark(ctx, node, c)
	}
}

// mark marks the pods of a node. Those that fail are tried again later, until the node is alive or Kubernetes
// knows that it is dead.
func (r *Reporter) mark(ctx context.Context, node string, c *deadCase) {
	m := marker{client: r.options.Client, dead: func() bool {
		dead, voices := r.watch.reported()
		return voices == 0 || slices.Contains(dead, node)
	}}
	marked, failed, err := m.mark(ctx, node, c.report.text)
	c.report.marked += marked
	r.options.Metrics.count(marked, failed)
	if !c.report.failed && (err != nil || marked > 0) {
		r.past = append(r.past, past{node, time.Now()})
	}
	took := time.Since(c.report.at).Round(time.Millisecond)
	switch {
	case errors.Is(err, errAlive):
		c.decided = true
		r.notAll(node, c, NoAgreement, err)
	case err != nil:
		if !c.report.failed {
			c.report.failed = true
			r.notAll(node, c, Failed, err)
		}
	case c.report.marked == 0:
		c.decided = true
		r.log.Info("no pod of the dead node was ready", "node", node)
	default:
		c.decided = true
		r.options.Metrics.report(took)
		r.log.Info("pods of the dead node marked", "node", node, "marked", c.report.marked, "took", took)
		r.options.Events.Eventf(reference(node), v1.EventTypeWarning, EventReported, "%s %d pods were set to not ready in %v.", c.report.text, c.report.marked, took)
	}
}

// notAll says that pods of a node are still ready.
func (r *Reporter) notAll(node string, c *deadCase, reason Reason, err error) {
	r.log.Warn("not all pods of the dead node are marked", "node", node, "marked", c.report.marked, "error", err)
	r.options.Metrics.withhold(reason)
	r.options.Events.Eventf(reference(node), v1.EventTypeWarning, EventWithheld, "%s %d pods were set to not ready, but not all: %v", c.report.text, c.report.marked, err)
}

// message is the text of the condition. It has the facts for everybody who looks at a pod.
func message(node, text string) string {
	return fmt.Sprintf("Node %s is dead. %s The kubelet sets this condition again if it lives.", node, text)
}
