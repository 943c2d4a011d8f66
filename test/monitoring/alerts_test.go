package monitoring

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const root = "../../"

// file returns the content of a file of the project.
func file(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// rule is an alert of the PrometheusRule.
type rule struct {
	Alert, Expr, For string
	Labels           map[string]string
	Annotations      map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var manifest struct {
		Spec struct{ Groups []struct{ Rules []rule } }
	}
	if err := yaml.Unmarshal(file(t, "manifests/monitoring/prometheusrule.yaml"), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Spec.Groups) != 1 || len(manifest.Spec.Groups[0].Rules) < 7 {
		t.Fatalf("want one group with 7 alerts or more, got %+v", manifest)
	}
	return manifest.Spec.Groups[0].Rules
}

var (
	section = regexp.MustCompile(`(?m)^## (Baremetal\w+)\n`)
	row     = regexp.MustCompile("(?m)^\\| `(Baremetal\\w+)` \\| (\\w+) \\|")
)

// names returns the first group of all matches, in their order.
func names(pattern *regexp.Regexp, text []byte) (found []string) {
	for _, match := range pattern.FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

func TestAlertsLinkToASectionEach(t *testing.T) {
	const page, site = "docs/guides/alerts.md", "https://github.com/baremetal-lb/cloud-provider-baremetal/blob/main/"
	var alerts []string
	for _, r := range rules(t) {
		alerts = append(alerts, r.Alert)
		if got, want := r.Annotations["runbook_url"], site+page+"#"+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s has the runbook_url %q, want %q", r.Alert, got, want)
		}
	}
	text := file(t, page)
	if got := names(section, text); !slices.Equal(got, alerts) {
		t.Errorf("%s has the sections\n%v\nwant, in this order,\n%v", page, got, alerts)
	}
	for i, part := range section.Split(string(text), -1)[1:] {
		for _, question := range []string{"**What it means.**", "**What to look at.**", "**What to do.**"} {
			if !strings.Contains(part, question) {
				t.Errorf("the section of %s does not say %q", alerts[i], question)
			}
		}
	}
}

func TestAlertsAreInTheReference(t *testing.T) {
	reference := map[string]string{}
	for _, match := range row.FindAllSubmatch(file(t, "docs/reference/metrics.md"), -1) {
		reference[string(match[1])] = string(match[2])
	}
	for _, r := range rules(t) {
		if got := reference[r.Alert]; got != r.Labels["severity"] {
			t.Errorf("docs/reference/metrics.md gives %s the severity %q, want %q", r.Alert, got, r.Labels["severity"])
		}
		delete(reference, r.Alert)
	}
	if len(reference) > 0 {
		t.Errorf("docs/reference/metrics.md has alerts that do not exist: %v", reference)
	}
}

// The chart puts a number for THRESHOLD. Alerts without it have no threshold in the values.
func TestAlertsOfTheChartHaveAThresholdWhereTheySay(t *testing.T) {
	var chart struct {
		Alerts []struct {
			Alert, Expr string
			Threshold   *float64
		}
	}
	if err := yaml.Unmarshal(file(t, "manifests/helm/files/alerts.yaml"), &chart); err != nil {
		t.Fatal(err)
	}
	schema := file(t, "manifests/helm/values.schema.json")
	if len(chart.Alerts) != len(rules(t)) {
		t.Errorf("the chart has %d alerts, want %d", len(chart.Alerts), len(rules(t)))
	}
	for _, a := range chart.Alerts {
		has := strings.Count(a.Expr, "THRESHOLD") == 1
		if has != (a.Threshold != nil) {
			t.Errorf("%s: THRESHOLD is in the expression: %v; the default is there: %v", a.Alert, has, a.Threshold != nil)
		}
		want := `"` + a.Alert + `": {"$ref": "#/definitions/alert"}`
		if has {
			want = `"` + a.Alert + `": {"$ref": "#/definitions/alertWithThreshold"}`
		}
		if !bytes.Contains(schema, []byte(want)) {
			t.Errorf("values.schema.json has no %s", want)
		}
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(a.Expr, "THRESHOLD", "12.5")); err != nil {
			t.Errorf("%s with the threshold 12.5: %v", a.Alert, err)
		}
	}
}
