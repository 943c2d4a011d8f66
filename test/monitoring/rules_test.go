// Package monitoring tests the alerting rules with Prometheus' own code. It is a Go module
// of its own, so that no other module depends on Prometheus.
package monitoring

import (
	"log/slog"
	"os"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// The Prometheus operator gives the rules to Prometheus without a check. If Prometheus
// cannot parse one rule, it loads none of them.
func TestRulesAreAcceptedByPrometheus(t *testing.T) {
	manifest, err := os.ReadFile("../../manifests/monitoring/prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rule struct{ Spec yaml.Node }
	if err := yaml.Unmarshal(manifest, &rule); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(&rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) == 0 || len(groups.Groups[0].Rules) < 7 {
		t.Errorf("want one group with 7 rules or more, got %+v", groups)
	}
}
