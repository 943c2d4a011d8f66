package metallb_test

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/metallb"
)

func TestFieldsAreDocumentedAsTheConverterTreatsThem(t *testing.T) {
	const begin, end, file = "<!-- begin fields -->\n", "<!-- end fields -->", "../../docs/guides/metallb.md"
	page := read(t, file)
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s does not have the comments %q and %q", file, begin, end)
	}
	var b strings.Builder
	b.WriteString("| object | field of `spec` | outcome | here |\n|---|---|---|---|\n")
	for _, f := range metallb.Fields() {
		key := ""
		if f.Key != "" {
			key = "`" + f.Key + "`"
		}
		here := cmp.Or(strings.Trim(key+": "+f.Text, ": "), "no key is necessary")
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", f.Kind, strings.TrimPrefix(f.Path, "spec."), strings.ReplaceAll(string(f.Outcome), "-", " "), here)
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != want {
		t.Errorf("%s differs from the converter's table: go test ./pkg/metallb -run Documented -update", file)
	}
}
