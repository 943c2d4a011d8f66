package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

var update = flag.Bool("update", false, "write the reference and the JSON Schema to docs/")

func TestEveryKeyIsDocumentedAsTheParserReadsIt(t *testing.T) {
	const begin, end, page = "<!-- begin keys -->\n", "<!-- end keys -->", "../../docs/configuration.md"
	text := string(read(t, page))
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the keys", page)
	}
	upToDate(t, page, before+begin+config.Reference()+end+after)
}

func TestTheJSONSchemaIsDocumentedAsTheParserReadsIt(t *testing.T) {
	upToDate(t, "../../docs/config.schema.json", string(config.JSONSchema()))
}

func upToDate(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if string(read(t, file)) != want {
		t.Errorf("%s is not what the parser reads any more: go test ./pkg/config -run Documented -update", file)
	}
}
