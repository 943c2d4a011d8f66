package speaker

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
)

// lookUp makes a request to a lookup. change changes the request.
func lookUp(h http.Handler, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:7473"+path, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func testWeb() *web {
	return newWeb(WebOptions{Version: "v1.2.3"}, "node1", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// found is the subject of every address of 127.0.0.0/8.
func found(addr netip.Addr) (reconcile.Subject, error) {
	if !addr.IsLoopback() {
		return reconcile.Subject{}, reconcile.ErrNotOurs
	}
	return reconcile.Subject{Addr: addr}, nil
}

func TestLookupsAreForAddressesOfPoolsAndLocalClients(t *testing.T) {
	h := testWeb().newLookup(found, func(rw http.ResponseWriter, _ *http.Request, s reconcile.Subject) {
		_, _ = rw.Write([]byte(s.Addr.String()))
	})
	starting := testWeb().newLookup(testWeb().subject, nil)
	for name, test := range map[string]struct {
		handler http.Handler
		query   string
		change  func(*http.Request)
		status  int
		text    string
	}{
		"an address of a pool":     {h, "?address=127.0.0.9", nil, http.StatusOK, "127.0.0.9"},
		"the same as IPv6":         {h, "?address=::ffff:127.0.0.9", nil, http.StatusOK, "127.0.0.9"},
		"localhost":                {h, "?address=127.0.0.9", func(r *http.Request) { r.Host = "localhost:1" }, http.StatusOK, ""},
		"an address of no pool":    {h, "?address=192.0.2.1", nil, http.StatusForbidden, "in no pool"},
		"no address":               {h, "", nil, http.StatusBadRequest, "must be an IP address"},
		"an address with a zone":   {h, "?address=fe80::1%25eth0", nil, http.StatusBadRequest, "must be an IP address"},
		"a client of another host": {h, "?address=127.0.0.9", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, http.StatusForbidden, "port-forward"},
		"the name of a web page":   {h, "?address=127.0.0.9", func(r *http.Request) { r.Host = "evil.example:7473" }, http.StatusForbidden, ""},
		"a web page":               {h, "?address=127.0.0.9", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden, ""},
		"a speaker that starts":    {starting, "?address=127.0.0.9", nil, http.StatusServiceUnavailable, "no plan yet"},
	} {
		w := lookUp(test.handler, debugapi.TracePath+test.query, test.change)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.text) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestLookupsAreOneAtATime(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	h := testWeb().newLookup(found, func(http.ResponseWriter, *http.Request, reconcile.Subject) { close(began); <-end })
	ended := make(chan struct{})
	go func() { defer close(ended); lookUp(h, "?address=127.0.0.1", nil) }()
	<-began
	if w := lookUp(h, "?address=127.0.0.1", nil); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "another client") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(end)
	<-ended
}

func TestLookupsAreFewInAMinute(t *testing.T) {
	served := 0
	h := testWeb().newLookup(found, func(http.ResponseWriter, *http.Request, reconcile.Subject) { served++ })
	for range maxLookups {
		lookUp(h, "?address=127.0.0.1", nil)
	}
	if w := lookUp(h, "?address=127.0.0.1", nil); w.Code != http.StatusTooManyRequests || served != maxLookups {
		t.Errorf("%d served, %d %s", served, w.Code, w.Body)
	}
}

func TestTraceSaysWhatEachPortOfTheServiceAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := func(l net.Listener) uint16 { return netip.MustParseAddrPort(l.Addr().String()).Port() }
	refusing := port(closed)
	closed.Close()
	w := testWeb()
	h := w.newLookup(func(addr netip.Addr) (reconcile.Subject, error) {
		return reconcile.Subject{
			Addr: addr, Pool: "main", Protocol: "layer2", Decision: plan.Decision{VIP: addr, Services: []string{"default/web"}, Owner: "node1", Reason: plan.Owner, Links: []string{"eth0"}},
			Ports: []plan.Port{{Protocol: protocolTCP, Number: port(l)}, {Protocol: protocolTCP, Number: refusing}, {Protocol: protocolUDP, Number: 53}, {Protocol: protocolSCTP, Number: 9}},
		}, nil
	}, w.trace)
	answer := lookUp(h, debugapi.TracePath+"?address=127.0.0.1", nil)
	var d debugapi.Trace
	if err := debugapi.Decode(answer.Body.Bytes(), debugapi.TraceKind, &d); err != nil {
		t.Fatalf("%v in %s", err, answer.Body)
	}
	if d.Node != "node1" || d.Pool != "main" || d.Owner != "node1" || len(d.Announces) != 1 || len(d.Local) != 1 || d.Local[0] != "lo" {
		t.Errorf("%+v", d)
	}
	for i, want := range []struct{ protocol, outcome string }{{"TCP", debugapi.Open}, {"TCP", debugapi.Refused}, {"UDP", debugapi.NotTried}, {"SCTP", debugapi.NotTried}} {
		if c := d.Connections[i]; c.Protocol != want.protocol || c.Outcome != want.outcome || (c.Outcome == debugapi.Refused) != (c.Problem != "") {
			t.Errorf("%+v", c)
		}
	}
}

func TestTraceLeavesOutPortsBeyondItsBound(t *testing.T) {
	w := testWeb()
	h := w.newLookup(func(addr netip.Addr) (reconcile.Subject, error) {
		s := reconcile.Subject{Addr: addr}
		for n := range 20 {
			s.Ports = append(s.Ports, plan.Port{Protocol: protocolTCP, Number: uint16(1 + n)})
		}
		return s, nil
	}, w.trace)
	var d debugapi.Trace
	if err := json.Unmarshal(lookUp(h, debugapi.TracePath+"?address=127.0.0.1", nil).Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Connections) != 16 || d.PortsOmitted != 4 {
		t.Errorf("%d connections, %d omitted", len(d.Connections), d.PortsOmitted)
	}
}

func TestCaptureRefusesATimeThatIsTooLong(t *testing.T) {
	w := testWeb()
	h := w.newLookup(found, w.capture)
	if got := lookUp(h, debugapi.CapturePath+"?address=127.0.0.1&for=2m", nil); got.Code != http.StatusBadRequest || !strings.Contains(got.Body.String(), "at most 1m0s") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestCaptureEndsWhenItsTimeIsOver(t *testing.T) {
	p := serveWeb(t, WebOptions{Version: "v1.2.3"})
	mux := http.NewServeMux()
	mux.Handle("POST "+debugapi.CapturePath, p.web.newLookup(found, p.web.capture))
	server := httptest.NewServer(mux)
	defer server.Close()
	response, err := http.Post(server.URL+debugapi.CapturePath+"?address=127.0.0.1&for=10ms", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := debugapi.ReadCapture(response.Body)
	if err != nil || got.Start.Node != "node1" || got.End == nil || got.End.Why != "the time is over" || len(got.Frames) != 0 {
		t.Errorf("%+v, %v", got, errors.Unwrap(err))
	}
}

func TestDebugMetricsAreThoseOfPrometheus(t *testing.T) {
	p := serveWeb(t, WebOptions{})
	if status, text := get(t, p.health+debugapi.MetricsPath, ""); status != http.StatusOK || !strings.Contains(text, "baremetal_http_rejected_total") {
		t.Errorf("%d %s", status, text)
	}
}
