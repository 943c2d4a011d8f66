package wire

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// nft understands the rules in docs/concepts/threat-model.md.
func TestFirewallExampleIsUnderstood(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("the Debian package nftables is not installed")
	}
	page, err := os.ReadFile("../../docs/concepts/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n```\ntable inet ")
	rules, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("there are no rules")
	}
	for _, port := range []string{"7946", "7947", "7472", "3784", "4784"} {
		if !strings.Contains(rules, port) {
			t.Errorf("no rule is about port %s", port)
		}
	}
	check := exec.Command("nft", "-c", "-f", "-")
	check.Stdin = strings.NewReader("table inet " + rules)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
