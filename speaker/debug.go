package speaker

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
)

// debugPage is a page that is a text for people, or a document if the client asks for one. The
// functions get nil before the speaker has a loop.
type debugPage struct {
	path     string
	text     func(*reconcile.Loop) string
	document func(*reconcile.Loop) any
}

// starting is the problem of a document while the speaker has no loop.
const starting = "the speaker starts: it waits for the API server or for other speakers, see its log"

func (w *web) debugPages() []debugPage {
	return []debugPage{
		{debugapi.PlanPath, func(l *reconcile.Loop) string { return l.Plan().Describe() }, func(l *reconcile.Loop) any {
			return document(w, debugapi.PlanKind, l, (*reconcile.Loop).PlanDocument, func(d *debugapi.Plan) *debugapi.Header { return &d.Header })
		}},
		{debugapi.BGPPath, func(l *reconcile.Loop) string { return l.DescribeSessions() }, func(l *reconcile.Loop) any {
			return document(w, debugapi.BGPKind, l, (*reconcile.Loop).BGPDocument, func(d *debugapi.BGP) *debugapi.Header { return &d.Header })
		}},
		{debugapi.SpreadPath, func(l *reconcile.Loop) string { return reconcile.DescribeSpread(w.spread(l)) }, func(l *reconcile.Loop) any { return w.spread(l) }},
		{debugapi.MembersPath, func(l *reconcile.Loop) string { return reconcile.DescribeMembers(w.members(l)) }, func(l *reconcile.Loop) any { return w.members(l) }},
	}
}

func (w *web) addDebugPages(mux *http.ServeMux) {
	for _, page := range w.debugPages() {
		mux.Handle("GET "+page.path, debugapi.ForLoopback(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			loop := w.loop.Load()
			if debugapi.WantsJSON(r) {
				if err := debugapi.Write(rw, r, wanted(page.document(loop), r)); err != nil {
					w.log.Debug("a debug page was not read to its end", "path", page.path, "error", err)
				}
				return
			}
			if loop != nil {
				fmt.Fprint(rw, page.text(loop))
			}
		})))
	}
}

// wanted leaves out the state of a plan if the client does not want it.
func wanted(document any, r *http.Request) any {
	if plan, ok := document.(debugapi.Plan); ok && r.URL.Query().Get("state") == "false" {
		plan.State = nil
		return plan
	}
	return document
}

func (w *web) spread(l *reconcile.Loop) debugapi.Spread {
	return document(w, debugapi.SpreadKind, l, (*reconcile.Loop).SpreadDocument, func(d *debugapi.Spread) *debugapi.Header { return &d.Header })
}

func (w *web) members(l *reconcile.Loop) debugapi.Members {
	d := document(w, debugapi.MembersKind, l, (*reconcile.Loop).MembersDocument, func(d *debugapi.Members) *debugapi.Header { return &d.Header })
	d.Rejected, d.OtherKeys = rejected(w.registry), w.otherKeys.document(d.Time)
	return d
}

// document returns a document with its header.
func document[D any](w *web, kind string, l *reconcile.Loop, read func(*reconcile.Loop) D, header func(*D) *debugapi.Header) D {
	var d D
	problem := starting
	if l != nil {
		d = read(l)
		problem = header(&d).Problem
	}
	h := debugapi.NewHeader(kind, w.options.Version, time.Now())
	h.Node, h.Problem = w.node, problem
	*header(&d) = h
	return d
}

// rejected returns the counts of what other hosts have sent and this speaker has rejected. They
// are in the metrics already.
func rejected(registry prometheus.Gatherer) map[string]uint64 {
	counts := map[string]uint64{}
	families, _ := registry.Gather() // what could be read counts
	for _, family := range families {
		subsystem, ok := strings.CutSuffix(strings.TrimPrefix(family.GetName(), "baremetal_"), "_rejected_total")
		if !ok || subsystem != "members" && subsystem != "heartbeat" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if count := uint64(m.GetCounter().GetValue()); count > 0 {
					counts[subsystem+"/"+label.GetValue()] = count
				}
			}
		}
	}
	return counts
}
