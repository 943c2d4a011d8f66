package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(t *testing.T, stdin string, args ...string) (out string, err error) {
	t.Helper()
	command := checkConfigCommand()
	var stdout, stderr bytes.Buffer
	command.SetIn(strings.NewReader(stdin))
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	command.SetArgs(args)
	err = command.Execute()
	return stdout.String(), err
}

func TestCheckConfigPrintsEveryErrorWithItsLine(t *testing.T) {
	const bad = "address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]\n  colour: red\n"
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{file, "-"} {
		out, err := run(t, bad, arg)
		if err == nil || err.Error() != arg+" is not valid: errors: 2" {
			t.Errorf("%s: %v", arg, err)
		}
		if !strings.HasPrefix(out, `line 4: pool "a": addresses: `) || !strings.Contains(out, "\nline 5: pool \"a\": colour: unknown key") {
			t.Errorf("%s: printed\n%s", arg, out)
		}
	}
}

func TestCheckConfigPrintsASummaryAndWarnings(t *testing.T) {
	out, err := run(t, "address-pools:\n- {name: a, protocol: bgp, addresses: [10.0.0.0/24, fd00::/120]}\n", "-")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "warning: line 2: pool \"a\": protocol: ") || !strings.HasSuffix(out, "- is valid: 1 pool with 1 IPv4 and 1 IPv6 ranges\n") {
		t.Errorf("printed\n%s", out)
	}
}

func TestCheckConfigFailsWhenItCannotCheck(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(manifest, []byte("kind: ConfigMap\ndata: {pools: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no such file":      {"/nowhere/config.yaml"},
		"accepts 1 arg":     {},
		`no key "config"`:   {manifest},
		"reading --kubecon": {"-", "--kubeconfig=/nowhere/kubeconfig"},
	} {
		if _, err := run(t, "", args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}
