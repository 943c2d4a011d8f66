package config

import (
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
