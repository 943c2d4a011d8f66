package build

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestBuildInfoHasTheLabelsOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, ok := strings.Cut(string(page), "| `baremetal_build_info` |")
	row, _, _ = strings.Cut(row, "\n")
	if !ok {
		t.Fatal("baremetal_build_info has no row in docs/reference/metrics.md")
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 1 || families[0].GetName() != "baremetal_build_info" {
		t.Fatalf("gathered %v", families)
	}
	values := map[string]string{}
	for _, l := range families[0].GetMetric()[0].GetLabel() {
		values[l.GetName()] = l.GetValue()
		if !strings.Contains(row, "`"+l.GetName()+"`") {
			t.Errorf("the row of the docs does not name the label %s", l.GetName())
		}
	}
	// Tests are linked without the flags of the Makefile.
	want := map[string]string{"version": Version(), "revision": "unknown", "goversion": runtime.Version(), "goarch": runtime.GOARCH}
	for name, value := range want {
		if values[name] != value {
			t.Errorf("%s is %q, want %q", name, values[name], value)
		}
	}
}
