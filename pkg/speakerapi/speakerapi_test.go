package speakerapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

func TestParseReadsWhatFormatWrites(t *testing.T) {
	for _, want := range []speakerapi.Answer{
		{Version: 1, Node: "node1", Change: 1, Dead: []string{}},
		{Version: 1, Node: "node1", Change: 7, Dead: []string{"node2", "node3"}},
		{Version: 1, Node: "node1", Change: 1 << 60, Fenced: true, Dead: []string{}},
	} {
		text, err := want.Format()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := speakerapi.Parse(text, "node1"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestParseRefusesAnswersThatContradictThemselves(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                            "reading the answer",
		`{"version":2,"node":"node1"}`: "has the version 2",
		`{"version":1,"node":"node2"}`: `its node is "node2", not "node1"`,
		`{"version":1,"node":"node1","fenced":true,"dead":["x"]}`:                            "is fenced, but names 1 dead",
		`{"version":1,"node":"node1","dead":["node1"]}`:                                      "its own node",
		`{"version":1,"node":"node1","dead":["b","a"]}`:                                      "not sorted",
		`{"version":1,"node":"node1","dead":["a","a"]}`:                                      "not sorted",
		`{"version":1,"node":"node1","dead":[""]}`:                                           "a name of 0 bytes",
		fmt.Sprintf(`{"version":1,"node":"node1","dead":[%q]}`, strings.Repeat("x", 254)):    "a name of 254 bytes",
		fmt.Sprintf(`{"version":1,"node":"node1","x":%q}`, strings.Repeat("x", 300<<10)):     "at most 307200 are allowed",
		fmt.Sprintf(`{"version":1,"node":%q,"dead":[]}`, strings.Repeat("long name ", 1000)): "says that its node is",
	} {
		_, err := speakerapi.Parse([]byte(text), "node1")
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func TestEqualComparesOnlyWhatIsSaidAboutNodes(t *testing.T) {
	a := speakerapi.Answer{Node: "a", Change: 1, Dead: []string{"x"}}
	for other, want := range map[*speakerapi.Answer]bool{
		{Node: "b", Change: 9, Dead: []string{"x"}}: true,
		{Node: "a", Change: 1, Dead: []string{"y"}}: false,
		{Node: "a", Change: 1}:                      false,
		{Node: "a", Change: 1, Fenced: true}:        false,
	} {
		if a.Equal(*other) != want {
			t.Errorf("%+v: %v", other, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"node":"node1","change":3,"fenced":false,"dead":["a","b"]}`))
	f.Add([]byte(`{"version":1,"node":"node1","fenced":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := speakerapi.Parse(text, "node1")
		if err != nil {
			if !reflect.DeepEqual(a, speakerapi.Answer{}) {
				t.Errorf("an answer beside the error %v: %+v", err, a)
			}
			return
		}
		again, err := a.Format()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := speakerapi.Parse(again, "node1"); err != nil || !a.Equal(b) || a.Change != b.Change {
			t.Errorf("%s is read as %+v, and then as %+v (%v)", text, a, b, err)
		}
	})
}
