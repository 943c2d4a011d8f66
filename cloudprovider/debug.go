package cloudprovider

import (
	"cmp"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/version"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// Debug serves what the cluster manager has in memory, to people and to the plugin of kubectl. It
// has no secrets, and it is bounded in size.
type Debug struct {
	log   *slog.Logger
	cloud atomic.Pointer[Cloud] // nil until upstream has created it
}

// NewDebug returns a Debug. Options.Debug makes the provider use it.
func NewDebug(log *slog.Logger) *Debug { return &Debug{log: log} }

// Handler returns the pages. There is no text for people: the plugin shows it better.
func (d *Debug) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+debugapi.AllocationsPath, func(rw http.ResponseWriter, r *http.Request) {
		if err := debugapi.Write(rw, r, d.allocations()); err != nil {
			d.log.Debug("a debug page was not read to its end", "error", err)
		}
	})
	mux.Handle("GET "+debugapi.MetricsPath, legacyregistry.Handler())
	return debugapi.ForLoopback(mux)
}

// allocations returns the document. A cluster manager that does not lead has nothing to say.
func (d *Debug) allocations() debugapi.Allocations {
	doc := debugapi.Allocations{Pools: []debugapi.Pool{}, Services: []debugapi.ServiceAllocation{}}
	doc.Header = debugapi.NewHeader(debugapi.AllocationsKind, version.Get().GitVersion, time.Now())
	if c := d.cloud.Load(); c != nil {
		c.fillAllocations(&doc)
	}
	doc.Host, _ = os.Hostname() // only for people
	return doc
}

// fillAllocations fills the document of the leader.
func (c *Cloud) fillAllocations(doc *debugapi.Allocations) {
	select {
	case <-c.informed: // Initialize and SetInformers have ended
	default:
		return
	}
	doc.Leader, doc.Adopted = true, c.isAdopted()
	if state := c.config.State(); state.Problem != nil {
		doc.Config.Problem = state.Problem.Error()
	}
	c.mu.Lock()
	using, reserved, foreign := c.using, c.reserved, maps.Clone(c.foreign)
	c.mu.Unlock()
	doc.Config.ResourceVersion, doc.Config.Hash = using.ResourceVersion, using.Hash
	for _, u := range c.allocator.Usage() {
		p := debugapi.Pool{Name: u.Pool, Family: u.Family.String(), Ranges: []string{}, Total: u.Usable, Assigned: u.Used, Cooldown: u.Cooldown}
		if taken := u.Used + u.Cooldown; taken < u.Usable {
			p.Free = u.Usable - taken
		}
		if pool, ok := using.Config.Pool(u.Pool); ok {
			p.Protocol, p.Priority, p.AutoAssign = string(pool.Protocol), pool.Priority, pool.AutoAssign
			for _, r := range pool.Ranges {
				if ipam.FamilyOf(r.From) == u.Family {
					p.Ranges = append(p.Ranges, r.String())
				}
			}
		}
		doc.Pools = append(doc.Pools, p)
	}
	inPools := map[netip.Addr]string{}
	for addr, why := range reserved {
		if _, ok := using.Config.PoolOf(addr); ok {
			inPools[addr] = why
		}
	}
	doc.Reserved = addresses(inPools)
	if doc.ReservedOmitted = max(0, len(doc.Reserved)-debugapi.MaxReserved); doc.ReservedOmitted > 0 {
		doc.Reserved = doc.Reserved[:debugapi.MaxReserved]
	}
	hosts := map[netip.Addr]string{}
	for addr, host := range foreign {
		if !host.isOver(doc.Time) {
			hosts[addr] = host.text
		}
	}
	doc.Foreign = addresses(hosts)
	doc.Services, doc.ServicesOmitted = c.serviceDocuments()
}

func addresses(all map[netip.Addr]string) (list []debugapi.ReservedAddress) {
	for _, addr := range slices.SortedFunc(maps.Keys(all), netip.Addr.Compare) {
		list = append(list, debugapi.ReservedAddress{Address: addr, Why: all[addr]})
	}
	return list
}

// serviceDocuments returns the Services, those that wait first, and how many were left out.
func (c *Cloud) serviceDocuments() (services []debugapi.ServiceAllocation, omitted int) {
	services = c.tracker.documents()
	if omitted = max(0, len(services)-debugapi.MaxServices); omitted > 0 {
		services = services[:debugapi.MaxServices]
	}
	for i := range services {
		w := services[i].Waiting
		if w == nil || i == debugapi.MaxExplained {
			break
		}
		c.explainWaiting(services[i].Name, w)
	}
	return services, omitted
}

// explainWaiting adds the reason of each pool.
func (c *Cloud) explainWaiting(name string, w *debugapi.Waiting) {
	namespace, name, _ := strings.Cut(name, "/")
	svc, err := c.services.Services(namespace).Get(name)
	if err != nil {
		return // it was deleted
	}
	r, err := request(svc, c.namespaceLabels(namespace))
	if err != nil {
		return // the Service must be corrected, whatever the pools are
	}
	refusals := c.allocator.WhyNot(r)
	if w.PoolsOmitted = max(0, len(refusals)-debugapi.MaxPoolReasons); w.PoolsOmitted > 0 {
		refusals = refusals[:debugapi.MaxPoolReasons]
	}
	for _, refusal := range refusals {
		w.Pools = append(w.Pools, debugapi.PoolReason(refusal))
	}
}

// documents returns what is recorded about the Services: those that wait first, then in the order
// of their names.
func (t *tracker) documents() []debugapi.ServiceAllocation {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]debugapi.ServiceAllocation, 0, len(t.byUID))
	for _, r := range t.byUID {
		s := debugapi.ServiceAllocation{Name: r.name.String(), Addresses: slices.Clone(r.addrs)}
		for _, o := range r.orphans {
			s.Orphans = append(s.Orphans, debugapi.ReservedAddress{Address: o.Addr, Why: o.Why})
		}
		if r.outcome != nil {
			s.Withheld = addresses(r.outcome.withheld)
		}
		if !r.waitingSince.IsZero() {
			s.Waiting = &debugapi.Waiting{Since: r.waitingSince.UTC(), Why: r.refusal}
			if r.outcome != nil {
				s.Waiting.Advice = r.outcome.advice
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b debugapi.ServiceAllocation) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// rank is 0 for a Service that waits.
func rank(s debugapi.ServiceAllocation) int {
	if s.Waiting != nil {
		return 0
	}
	return 1
}
