package plandoc_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
)

const text = `
peers:
- {name: tor, peer-address: 192.0.2.254, peer-asn: 64500, my-asn: 64501, password: hunter2}
address-pools:
- {name: a, protocol: both, addresses: [192.0.2.0/28], spread: true}
`

// fill sets every field to a value that is not zero.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("192.0.2.1/24")))
		return
	case *config.Config:
		c, err := config.Parse([]byte(text))
		if err != nil {
			panic(err)
		}
		v.Set(reflect.ValueOf(c))
		return
	case *config.Pool:
		v.Set(reflect.ValueOf(&config.Pool{Name: "old", Protocol: config.BGP, Spread: true}))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(3)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(4)
	case reflect.String:
		v.SetString("text")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("a state has a field of the kind " + v.Kind().String() + ": add it here and to the document")
	}
}

// throughJSON sends a state through its document.
func throughJSON(t *testing.T, s plan.State) (plan.State, string) {
	t.Helper()
	doc, err := plandoc.FromState(s, text, text)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var decoded debugapi.State
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	got, err := plandoc.ToState(&decoded)
	if err != nil {
		t.Fatal(err)
	}
	return got, string(encoded)
}

func TestStateComesBackWithEveryFieldButPasswords(t *testing.T) {
	var s plan.State
	fill(reflect.ValueOf(&s).Elem())
	s.Holders[0].HasRules = map[netip.Addr]bool{} // for no address; nil is for all
	got, encoded := throughJSON(t, s)
	if strings.Contains(encoded, "hunter2") || strings.Contains(encoded, `"password":"text"`) {
		t.Errorf("the document has a password: %s", encoded)
	}
	for _, c := range []*config.Config{got.Config, got.Earlier} {
		if len(c.Peers) != 1 || c.Peers[0].Password != config.Redacted || len(c.Pools) != 1 {
			t.Fatalf("configuration %+v", c)
		}
	}
	got.Config, got.Earlier = s.Config, s.Earlier
	for name, r := range s.Routers {
		r.Password = ""
		s.Routers[name] = r
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("got  %+v\nwant %+v", got, s)
	}
}

// cluster is a state of three nodes with a link each, of which one has no speaker.
func cluster(t *testing.T) plan.State {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s := plan.State{Node: "node1", Config: c, Services: []plan.Service{
		{Name: "default/web", VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{Name: "default/local", VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Local: true, EndpointNodes: []string{"node2"}},
	}}
	for i, name := range []string{"node1", "node2", "node3", "node4"} {
		s.Nodes = append(s.Nodes, plan.Node{Name: name, ExcludeLabel: name == "node4"})
		if name == "node3" {
			continue
		}
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + i)}), 24)
		m := plan.Member{Name: name, Spreads: true, Segments: []plan.Segment{{Link: "eth0", IPv4: address, Networks: []netip.Prefix{address.Masked()}}}}
		s.Members, s.Holders = append(s.Members, m), append(s.Holders, m)
	}
	return s
}

func TestPlanOfADocumentIsThePlanOfTheSpeaker(t *testing.T) {
	s := cluster(t)
	again, _ := throughJSON(t, s)
	want, got := plan.Make(s, plan.Plan{}), plan.Make(again, plan.Plan{})
	if !reflect.DeepEqual(got.Decisions, want.Decisions) || !reflect.DeepEqual(got.Routes, want.Routes) {
		t.Errorf("got  %+v\nwant %+v", got.Decisions, want.Decisions)
	}
}

func TestDecisionsSayWhyANodeIsNoCandidate(t *testing.T) {
	s := cluster(t)
	decisions := plandoc.Decisions(plan.Make(s, plan.Plan{}), s)
	if len(decisions) != 2 {
		t.Fatalf("%+v", decisions)
	}
	web, local := decisions[0], decisions[1]
	if web.Protocol != "both" || web.WhyOwner != "it has the highest weight of 2 candidates" || len(web.Excluded) != 2 {
		t.Errorf("%+v", web)
	}
	if local.Owner != "node2" || local.WhyOwner != "it is the only candidate" || len(local.Excluded) != 3 {
		t.Errorf("%+v", local)
	}
	for _, test := range []struct{ got, want string }{
		{web.Excluded[0].Node + ": " + web.Excluded[0].Why, "node3: its speaker does not run, is not heard, or is fenced"},
		{web.Excluded[1].Node + ": " + web.Excluded[1].Why, "node4: it has the label node.kubernetes.io/exclude-from-external-load-balancers"},
		{local.Excluded[0].Node + ": " + local.Excluded[0].Why, "node1: the traffic policy is Local, and it has no ready endpoint"},
	} {
		if !strings.HasPrefix(test.got, test.want) {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}
