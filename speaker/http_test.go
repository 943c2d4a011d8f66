package speaker

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// pages are the addresses of the two servers, as URLs.
type pages struct {
	health, metrics string
	log             bytes.Buffer
	web             *web
}

// serveWeb serves both ports of a speaker until the test ends. The API server allows the
// client with the token "prometheus" to get /metrics.
func serveWeb(t *testing.T, o WebOptions) *pages {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		review := action.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status.Authenticated = review.Spec.Token == "prometheus"
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		review := action.(k8stesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = review.Spec.NonResourceAttributes.Path == "/metrics"
		return true, review, nil
	})
	o.ReviewClient = client
	o.MetricsAddress = "127.0.0.1:0"
	if o.HealthAddress == "" {
		o.HealthAddress = "127.0.0.1:0"
	}
	p := &pages{}
	w := newWeb(o, "node1", slog.New(slog.NewTextHandler(&p.log, nil)), prometheus.NewRegistry())
	p.web = w
	health, metrics, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return health.Run(ctx) })
	group.Go(func() error { return metrics.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	p.health, p.metrics = fmt.Sprint("http://", health.Addr()), fmt.Sprint("https://", metrics.Addr())
	if o.InsecureMetrics {
		p.metrics = fmt.Sprint("http://", metrics.Addr())
	}
	return p
}

// get gets a page with a token, or without one if token is empty.
func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestPagesAreOnTheirPortsOnly(t *testing.T) {
	p := serveWeb(t, WebOptions{})
	for _, test := range []struct {
		url, token string
		status     int
		text       string
	}{
		{p.metrics + "/metrics", "prometheus", http.StatusOK, "baremetal_http_rejected_total{reason=\"unauthenticated\"} 0"},
		{p.metrics + "/metrics", "", http.StatusUnauthorized, "send the token"},
		{p.metrics + "/metrics", "stranger", http.StatusUnauthorized, "send the token"},
		{p.metrics + "/metrics", "prometheus", http.StatusOK, "baremetal_http_rejected_total{reason=\"unauthenticated\"} 2"},
		{p.metrics + "/healthz", "prometheus", http.StatusNotFound, ""},
		{p.metrics + "/readyz", "prometheus", http.StatusNotFound, ""},
		{p.metrics + "/debug/plan", "prometheus", http.StatusNotFound, ""},
		{p.metrics + "/debug/bgp", "prometheus", http.StatusNotFound, ""},
		{p.health + "/healthz", "", http.StatusOK, "ok"},
		{p.health + "/readyz", "", http.StatusServiceUnavailable, "no plan yet"},
		{p.health + "/debug/plan", "", http.StatusOK, ""},
		{p.health + "/debug/bgp", "", http.StatusOK, ""},
		{p.health + "/debug/spread", "", http.StatusOK, ""},
		{p.health + "/debug/members", "", http.StatusOK, ""},
		{p.metrics + "/debug/members", "prometheus", http.StatusNotFound, ""},
		{p.health + "/metrics", "", http.StatusNotFound, ""},
		{strings.Replace(p.metrics, "https", "http", 1) + "/metrics", "prometheus", http.StatusBadRequest, "HTTPS server"},
	} {
		if status, text := get(t, test.url, test.token); status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("GET %s with token %q: %d %s", test.url, test.token, status, text)
		}
	}
}

func TestInsecureMetricsAreServedWithAWarning(t *testing.T) {
	p := serveWeb(t, WebOptions{InsecureMetrics: true})
	if status, text := get(t, p.metrics+"/metrics", ""); status != http.StatusOK || !strings.Contains(text, "baremetal_http_rejected_total") {
		t.Errorf("%d %s", status, text)
	}
	if got := strings.Count(p.log.String(), "level=WARN"); got != 1 || !strings.Contains(p.log.String(), "--insecure-metrics") {
		t.Errorf("%d warnings: %s", got, p.log.String())
	}
}

func TestHealthPagesOnOtherAddressesAreWarnedOf(t *testing.T) {
	p := serveWeb(t, WebOptions{HealthAddress: ":0"})
	if !strings.Contains(p.log.String(), "level=WARN") || !strings.Contains(p.log.String(), "--health-address") {
		t.Errorf("log: %s", p.log.String())
	}
}

func TestAddressInUseIsAnErrorWithItsFlag(t *testing.T) {
	p := serveWeb(t, WebOptions{})
	taken := strings.TrimPrefix(p.health, "http://")
	for flag, o := range map[string]WebOptions{
		"--health-address":  {HealthAddress: taken, MetricsAddress: "127.0.0.1:0"},
		"--metrics-address": {HealthAddress: "127.0.0.1:0", MetricsAddress: taken},
	} {
		o.ReviewClient = fake.NewClientset()
		_, _, err := newWeb(o, "node1", slog.New(slog.DiscardHandler), prometheus.NewRegistry()).listen()
		if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), taken) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestDebugPagesAreDocumentsIfTheClientAsks(t *testing.T) {
	p := serveWeb(t, WebOptions{Version: "v1.2.3"})
	for path, kind := range map[string]string{
		debugapi.PlanPath: debugapi.PlanKind, debugapi.BGPPath: debugapi.BGPKind, debugapi.SpreadPath: debugapi.SpreadKind, debugapi.MembersPath: debugapi.MembersKind,
	} {
		_, text := get(t, p.health+path+"?format=json", "")
		var doc struct{ debugapi.Header }
		if err := debugapi.Decode([]byte(text), kind, &doc); err != nil {
			t.Errorf("%s: %v in %s", path, err, text)
			continue
		}
		if doc.Node != "node1" || doc.ProgramVersion != "v1.2.3" || !strings.Contains(doc.Problem, "the speaker starts") || doc.Time.IsZero() {
			t.Errorf("%s: %+v", path, doc)
		}
	}
}

func TestMembersDocumentCountsWhatWasRejected(t *testing.T) {
	registry := prometheus.NewRegistry()
	for _, subsystem := range []string{"members", "heartbeat", "http"} {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "baremetal", Subsystem: subsystem, Name: "rejected_total"}, []string{"reason"})
		registry.MustRegister(c)
		c.WithLabelValues("key").Add(2)
		c.WithLabelValues("never")
	}
	if got := rejected(registry); len(got) != 2 || got["members/key"] != 2 || got["heartbeat/key"] != 2 {
		t.Errorf("%v", got)
	}
}

// While somebody forwards the port, a web page can lead its own name to 127.0.0.1.
func TestDebugPagesRefuseTheNameOfAWebPage(t *testing.T) {
	p := serveWeb(t, WebOptions{})
	for _, path := range []string{debugapi.PlanPath, debugapi.BGPPath, debugapi.SpreadPath, debugapi.MembersPath, debugapi.MetricsPath} {
		request, err := http.NewRequest(http.MethodGet, p.health+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]int{"": http.StatusOK, "localhost:7473": http.StatusOK, "evil.example:7473": http.StatusForbidden} {
			request.Host = host
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s with the host %q: status %d, want %d", path, host, response.StatusCode, want)
			}
		}
	}
}
