package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
)

// run runs check-config.
func run(t *testing.T, stdin string, args ...string) (out string, err error) {
	t.Helper()
	streams, in, stdout, _ := genericiooptions.NewTestIOStreams()
	in.WriteString(stdin)
	command := rootCommand(streams)
	command.SetArgs(append([]string{"check-config"}, args...))
	err = command.Execute()
	return stdout.String(), err
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	good    = "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/24, fd00::/120]}\n"
	bad     = "address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]\n  colour: red\n"
	warning = "address-pools:\n- {name: a, protocol: bgp, addresses: [10.0.0.0/24]}\n"
)

func inManifest(name, text string) string {
	return "kind: ConfigMap\nmetadata: {name: " + name + "}\ndata:\n  config: |\n    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

func TestCheckConfigPrintsEveryErrorWithItsLine(t *testing.T) {
	file := write(t, bad)
	for _, arg := range []string{file, "-"} {
		out, err := run(t, bad, arg)
		if err == nil || err.Error() != arg+" is not valid: errors: 2" || exitCode(err) != 1 {
			t.Errorf("%s: %v", arg, err)
		}
		want := arg + ":4:15: pool \"a\": addresses: range \"10.0.0.9-10.0.0.1\" is reversed: its start 10.0.0.9 is higher than its end 10.0.0.1\n" +
			"      addresses: [10.0.0.9-10.0.0.1]\n                  ^\n" +
			arg + ":5:3: pool \"a\": colour: unknown key; "
		if !strings.HasPrefix(out, want) {
			t.Errorf("%s: printed\n%s\nwant\n%s", arg, out, want)
		}
	}
}

func TestCheckConfigPrintsASummaryAndWarnings(t *testing.T) {
	out, err := run(t, good, "-")
	if err != nil || out != "- is valid: 1 pool with 1 IPv4 and 1 IPv6 ranges\n" {
		t.Errorf("%v, printed\n%s", err, out)
	}
	out, err = run(t, warning, "-")
	if err != nil || !strings.HasPrefix(out, "warning: -:2: pool \"a\": protocol: bgp, but ") || !strings.HasSuffix(out, "\n- is valid: 1 pool with 1 IPv4 and 0 IPv6 ranges\n") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	if _, err := run(t, warning, "-", "--strict"); exitCode(err) != 1 || err.Error() != "- is valid, but --strict does not allow warnings: warnings: 1" {
		t.Errorf("--strict: %v", err)
	}
	if _, err := run(t, good, "-", "--strict"); err != nil {
		t.Errorf("--strict without warnings: %v", err)
	}
}

func TestCheckConfigNamesTheLineOfTheManifest(t *testing.T) {
	file := write(t, inManifest("x", bad))
	out, err := run(t, "", file)
	if exitCode(err) != 1 || !strings.HasPrefix(out, file+":8:19: pool \"a\": addresses: ") || !strings.Contains(out, " (line 4 of the configuration)\n      addresses: [") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	both := write(t, inManifest("x", bad)+"---\n"+inManifest("config", good))
	if out, err := run(t, "", both); err != nil {
		t.Errorf("two ConfigMaps: %v, printed\n%s", err, out)
	}
	if _, err := run(t, "", both, "--config-map=baremetal-system/x"); exitCode(err) != 1 {
		t.Errorf("the other ConfigMap: %v", err)
	}
	if _, err := run(t, "", both, "--config-map=y/z"); exitCode(err) != 1 || !strings.Contains(err.Error(), "it has x, config; select one of them with --config-map") {
		t.Errorf("a missing ConfigMap: %v", err)
	}
	mapping := write(t, "kind: ConfigMap\ndata:\n  config:\n    peers: []\n")
	if out, err := run(t, "", mapping); exitCode(err) != 1 || !strings.HasPrefix(out, mapping+":3:3: the value of config must be a text") {
		t.Errorf("a mapping: %v, printed\n%s", err, out)
	}
	quoted := write(t, `{"kind": "ConfigMap", "data": {"config": "peers: 1"}}`)
	if out, err := run(t, "", quoted); exitCode(err) != 1 || !strings.HasPrefix(out, quoted+" (value of config):1:8: peers: must be a list") {
		t.Errorf("a quoted text: %v, printed\n%s", err, out)
	}
}

func TestCheckConfigReadsSeveralFiles(t *testing.T) {
	goodFile, badFile := write(t, good), write(t, bad)
	out, err := run(t, warning, goodFile, "/nowhere/config.yaml", badFile, "-")
	if exitCode(err) != 2 || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), badFile+" is not valid: errors: 2") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{goodFile + " is valid: ", badFile + ":4:15: ", "warning: -:2: ", "- is valid: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if _, err := run(t, "", goodFile, badFile); exitCode(err) != 1 {
		t.Errorf("one is not valid: %v", err)
	}
	if _, err := run(t, "", goodFile, goodFile); err != nil {
		t.Errorf("all are valid: %v", err)
	}
}

func TestCheckConfigPrintsJSON(t *testing.T) {
	file := write(t, inManifest("x", bad))
	out, err := run(t, warning, "-o", "json", file, "-", "/nowhere/config.yaml")
	if exitCode(err) != 2 {
		t.Errorf("exit status for %v", err)
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 4 {
		t.Fatalf("%v in\n%s", err, out)
	}
	for i, want := range []string{
		file + " 8 19 error a addresses range ",
		file + " 9 7 error a colour unknown key; ",
		"- 2 0 warning a protocol bgp, but ",
		"/nowhere/config.yaml 0 0 error   open /nowhere/config.yaml: ",
	} {
		f := got[i]
		if text := fmt.Sprintf("%v %v %v %v %v %v %v", f["file"], f["line"], f["column"], f["severity"], f["pool"], f["key"], f["message"]); !strings.HasPrefix(text, want) || f["in"] != "" {
			t.Errorf("%s, want %s", text, want)
		}
	}
	if out, err := run(t, good, "-o=json", "-"); err != nil || out != "[]\n" {
		t.Errorf("%v, printed %q", err, out)
	}
}

func TestCheckConfigPrintsAnnotationsForGitHub(t *testing.T) {
	out, err := run(t, warning, "--output=github", write(t, bad), "-")
	lines := strings.Split(out, "\n")
	if exitCode(err) != 1 || len(lines) != 4 || !strings.Contains(lines[0], "config.yaml,line=4,col=15::pool \"a\": addresses: range ") || !strings.HasPrefix(lines[2], "::warning file=-,line=2::pool \"a\": protocol: ") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	got := annotation(finding{File: "a,b:c%.yaml", Severity: severityInfo, Message: "50%,\r\nmore: x"})
	if want := "::notice file=a%2Cb%3Ac%25.yaml::50%25,%0D%0Amore: x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckConfigFailsWhenItCannotCheck(t *testing.T) {
	for want, args := range map[string][]string{
		"no such file":                            {"/nowhere/config.yaml"},
		"requires at least 1 arg":                 {},
		"unknown flag":                            {"--colour"},
		`"yaml" is not one of text, json, github`: {"-o", "yaml", "-"},
		"reading the kubeconfig":                  {"-", "--cluster", "--kubeconfig=/nowhere/kubeconfig"},
		"is not of the form NAMESPACE/NAME":       {"-", "--config-map=x"},
	} {
		if _, err := run(t, good, args...); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != 2 {
			t.Errorf("%v: got %v with exit status %d", args, err, exitCode(err))
		}
	}
	if _, err := run(t, "", write(t, "kind: ConfigMap\ndata: {pools: x}\n")); err == nil || !strings.Contains(err.Error(), `no key "config"`) || exitCode(err) != 1 {
		t.Errorf("a manifest without the key: %v", err)
	}
	if exitCode(errors.New("another")) != 1 {
		t.Error("an error without an exit status")
	}
}

func TestPreviewIsPrinted(t *testing.T) {
	var out bytes.Buffer
	printPreview(&out, cloudprovider.Preview{Warnings: []string{"overlaps"}, Effects: []cloudprovider.Effect{{Service: "default/web", Text: "waits"}}, Unchanged: 1})
	if out.String() != "In this cluster:\n  warning: overlaps\n  default/web waits\n  no change for 1 Service\n" {
		t.Errorf("printed\n%s", out.String())
	}
	out.Reset()
	printPreview(&out, cloudprovider.Preview{})
	if lines := strings.Split(out.String(), "\n"); !slices.Contains(lines, "  no change for 0 Services") {
		t.Errorf("printed\n%s", out.String())
	}
}
