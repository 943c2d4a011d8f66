package plandoc_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
)

// large is a state with 1,000 VIPs and 100 nodes, of which some have the exclude label.
func large(t *testing.T, excluded int) plan.State {
	t.Helper()
	c, err := config.Parse([]byte("address-pools:\n- {name: a, protocol: layer2, addresses: [10.1.0.0/16]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := plan.State{Config: c}
	for i := range 1000 {
		s.Services = append(s.Services, plan.Service{Name: fmt.Sprintf("namespace%d/service%d", i%10, i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i % 250)})}})
	}
	for i := range 100 {
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 8)
		m := plan.Member{Name: fmt.Sprintf("worker-rack1-%03d", i), Segments: []plan.Segment{{Link: "eth0", IPv4: address, Networks: []netip.Prefix{address.Masked()}}}}
		s.Nodes, s.Members = append(s.Nodes, plan.Node{Name: m.Name, ExcludeLabel: i < excluded}), append(s.Members, m)
	}
	s.Node = s.Nodes[99].Name
	return s
}

// "status" reads such a document of each of the 100 speakers: 13 MB at most, which take 2 s over a link
// of 50 Mbit/s.
func TestPlanOfALargeClusterIsSmall(t *testing.T) {
	for excluded, limit := range map[int]int64{0: 800 << 10, 50: 5 << 20} {
		s := large(t, excluded)
		p := plan.Make(s, plan.Plan{})
		doc := debugapi.Plan{Header: debugapi.NewHeader(debugapi.PlanKind, "v1", time.Unix(1, 0))}
		plandoc.Fill(&doc, p, s)
		d := doc.Decisions[0]
		if len(doc.Decisions) != 1000 || len(d.Candidates) != plandoc.MaxCandidates || d.CandidatesOmitted != 100-excluded-plandoc.MaxCandidates || d.Owner == "" {
			t.Fatalf("%d decisions, the first one is %+v", len(doc.Decisions), d)
		}
		if excluded > 0 && (len(d.Excluded) != plandoc.MaxExcluded || d.ExcludedOmitted != excluded-plandoc.MaxExcluded) {
			t.Errorf("excluded nodes: %+v", d)
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", debugapi.PlanPath+"?"+debugapi.WithoutState, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		if err := debugapi.Write(w, r, doc); err != nil {
			t.Fatal(err)
		}
		compressed := w.Body.Len()
		reader, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.Copy(io.Discard, reader)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d excluded nodes: %d bytes, %d compressed", excluded, plain, compressed)
		if plain > limit || compressed > 128<<10 {
			t.Errorf("%d excluded nodes: %d bytes, %d compressed", excluded, plain, compressed)
		}
	}
}
