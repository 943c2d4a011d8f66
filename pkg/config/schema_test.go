package config

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the reference and the JSON Schema to docs/reference")

func TestKeysAreDocumentedAsTheParserReadsThem(t *testing.T) {
	const begin, end, file = "<!-- begin keys -->\n", "<!-- end keys -->", "../../docs/reference/configuration.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s does not have the comments %q and %q", file, begin, end)
	}
	upToDate(t, file, before+begin+reference()+end+after)
}

func TestJSONSchemaIsDocumentedAsTheParserReadsIt(t *testing.T) {
	upToDate(t, "../../docs/reference/config.schema.json", string(jsonSchema()))
}

// The chart's values can have the configuration as a map. The schema of the values has the same
// description of it, as its last definition, without the keys of a schema of its own.
func TestChartSchemaIsDocumentedAsTheParserReadsIt(t *testing.T) {
	const file, begin, end = "../../manifests/helm/values.schema.json", "    \"configuration\": ", "\n  }\n}\n"
	values, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(values), begin)
	if !ok || !strings.HasSuffix(rest, end) {
		t.Fatalf("the last definition of %s is not %q", file, strings.TrimSpace(begin))
	}
	configuration, err := json.MarshalIndent(objectSchema(topSection.describe()), "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	upToDate(t, file, before+begin+string(configuration)+end)
}

func upToDate(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s differs from the parser's tables: go test ./pkg/config -run Documented -update", file)
	}
}
