package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const report = `<testsuites><testsuite name="Kubernetes e2e suite" time="1088.1">
<testcase name="[It] [sig-network] LoadBalancers [Feature:LoadBalancer] should pass [Slow]" status="passed" time="27.216930"><system-err>long</system-err></testcase>
<testcase name="[It] [sig-network] LoadBalancers [Feature:LoadBalancer] should fail" status="failed" time="604.7"><failure message="" type="failed">why</failure></testcase>
<testcase name="[It] [sig-network] LoadBalancers [Feature:LoadBalancer] should end" status="interrupted" time="3"><error message="" type="interrupted">Ctrl-C</error></testcase>
<testcase name="[It] [sig-network] LoadBalancers [Feature:LoadBalancer] should have more nodes" status="skipped" time="1"><skipped message="skipped - Requires 4 nodes"/></testcase>
<testcase name="[It] [sig-storage] was not asked for" status="skipped" time="0"><skipped message="skipped"/></testcase>
<testcase name="[SynchronizedBeforeSuite]" status="passed" time="1"/>
</testsuite></testsuites>`

func TestResultsKeepOnlyTheTestsThatRan(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.xml"), []byte(report), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := read(filepath.Join(dir, "in.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	r.print(&table, "bgp")
	want := `
| with ` + "`protocol: bgp`" + ` | | seconds |
|---|---|---|
| LoadBalancers should pass | passed | 27.216 |
| LoadBalancers should fail | failed | 604.7 |
| LoadBalancers should end | interrupted | 3 |
| LoadBalancers should have more nodes | skipped | 1 |

1 of 4 passed.
`
	if table.String() != want {
		t.Errorf("the table is wrong:\n%s", table.String())
	}
	kept := filepath.Join(dir, "new", "out.xml")
	if err := r.write(kept); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`<failure>why</failure>`, `<error>Ctrl-C</error>`, `<skipped message="skipped - Requires 4 nodes"></skipped>`, `time="1088.1"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is missing in\n%s", part, text)
		}
	}
	if strings.Contains(string(text), "long") || strings.Contains(string(text), "sig-storage") {
		t.Errorf("the results contain output or tests that should be left out:\n%s", text)
	}
}
