package chart

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// allOn are values with which every template makes something.
const allOn = "{config: {address-pools: []}, reportDeadNodes: true, monitoring: {enabled: true, dashboard: {enabled: true}}}"

// reuse returns what the chart makes after `helm upgrade --reuse-values`: Helm takes these defaults in place of
// those in values.yaml.
func reuse(t *testing.T, defaults map[string]any, given string) objects {
	t.Helper()
	c := load(t)
	c.Values = defaults
	files, err := renderFiles(t, c, "v1.35.0", given, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	if notes := files[c.Name()+"/templates/NOTES.txt"]; strings.Contains(notes, "no value") || strings.Contains(notes, "nil") {
		t.Errorf("the notes are\n%s", notes)
	}
	return read(t, files)
}

// sameObjects fails if the objects differ.
func sameObjects(t *testing.T, what string, got, want objects) {
	t.Helper()
	for key := range want {
		if got[key] == nil {
			t.Errorf("%s: %s is missing", what, key)
		}
	}
	for key, u := range got {
		switch {
		case want[key] == nil:
			t.Errorf("%s: %s is there, and not with the values of this chart", what, key)
		case !reflect.DeepEqual(u, want[key]):
			t.Errorf("%s: %s is\n%s\nwith the values of this chart it is\n%s", what, key, text(t, u), text(t, want[key]))
		}
	}
}

func TestValuesOfTheFirstChartStillWork(t *testing.T) {
	older, err := os.ReadFile("testdata/values-0.1.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValues(older)
	if err != nil {
		t.Fatal(err)
	}
	// The chart 0.1.0 had no limits, and --reuse-values keeps that.
	want := mustRender(t, strings.TrimSuffix(allOn, "}")+", ccm: {resources: {limits: null}}, speaker: {resources: {limits: null}}}")
	sameObjects(t, "values of 0.1.0", reuse(t, values, allOn), want)
	if len(want) < 30 {
		t.Errorf("the chart makes only %d objects", len(want))
	}
}

// Each value is missing in some older chart. An optional one has the same effect then as its default.
func TestMissingValuesHaveTheirDefaults(t *testing.T) {
	want, removed := mustRender(t, allOn), 0
	for name, value := range load(t).Values {
		group, _ := value.(map[string]any)
		for _, key := range append(slices.Collect(maps.Keys(group)), "") {
			if slices.Contains([]string{"repository", "resources", "tolerations"}, key) {
				continue // the chart 0.1.0 had them, and tolerations: null means none
			}
			defaults := load(t).Values
			if key == "" && group != nil && (name == "image" || name == "ccm" || name == "speaker") {
				continue // these groups have values of the line above
			}
			if removed++; key == "" {
				delete(defaults, name)
			} else {
				delete(defaults[name].(map[string]any), key)
			}
			sameObjects(t, "without "+name+"."+key, reuse(t, defaults, allOn), want)
		}
	}
	if removed < 50 {
		t.Errorf("the test removed only %d values", removed)
	}
}

// What looks like a number or a boolean in YAML stays a text.
func TestTextsAreQuoted(t *testing.T) {
	const values = "{imagePullSecrets: ['1'], ccm: {priorityClassName: 'true'}, speaker: {priorityClassName: 'true'}, bgp: {passwordSecrets: ['2']}, " +
		"monitoring: {enabled: true, dashboard: {enabled: true, namespace: '3'}, alerts: {BaremetalHTTPFlood: {for: '0', severity: '4'}}}}"
	made := mustRender(t, values)
	for key, wants := range map[string][]string{
		ccm:                             {"name: \"1\"\n", "priorityClassName: \"true\"\n"},
		speaker:                         {"name: \"1\"\n", "priorityClassName: \"true\"\n"},
		"Role/baremetal-speaker":        {"- \"2\"\n"},
		"ConfigMap/baremetal-dashboard": {"namespace: \"3\"\n"},
		"PrometheusRule/cloud-provider-baremetal": {"for: \"0\"\n", "severity: \"4\"\n"},
	} {
		for _, want := range wants {
			if got := text(t, made[key]); !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in\n%s", key, want, got)
			}
		}
	}
}

// The name and the namespace of a release can consist of digits.
func TestReleaseCanHaveANumberAsItsName(t *testing.T) {
	c := load(t)
	release := chartutil.ReleaseOptions{Name: "7", Namespace: "12", Revision: 1, IsInstall: true}
	given, err := chartutil.ReadValues([]byte(allOn))
	if err != nil {
		t.Fatal(err)
	}
	files, err := renderRelease(c, "v1.35.0", given, release, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	for key, u := range read(t, files) {
		for _, fields := range [][]string{{"metadata", "namespace"}, {"metadata", "labels", "app.kubernetes.io/instance"}} {
			if value, found, err := unstructured.NestedString(u.Object, fields...); err != nil {
				t.Errorf("%s: %v", key, err)
			} else if found && value != "7" && value != "12" && value != "kube-node-lease" {
				t.Errorf("%s has %v: %s", key, fields, value)
			}
		}
		subjects, _, _ := unstructured.NestedSlice(u.Object, "subjects")
		for _, subject := range subjects {
			if got := subject.(map[string]any)["namespace"]; got != "12" {
				t.Errorf("%s has a subject in the namespace %v", key, got)
			}
		}
	}
}
