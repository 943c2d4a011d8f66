package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRedactLeavesNoPassword(t *testing.T) {
	const text = `# the password of the routers was hunter2 before
x-base: &base {peer-asn: 64500, my-asn: 64501, password: "hunter2"}
peers:
- <<: *base
  peer-address: 192.0.2.1
- peer-address: 192.0.2.2 # a router
  peer-asn: 64500
  my-asn: 64501
  password: &p hunter2
- {peer-address: 192.0.2.3, peer-asn: 64500, my-asn: 64501, password: *p}
- peer-address: 192.0.2.4
  peer-asn: 64500
  my-asn: 64501
  password: |-
    hunter2
`
	got, err := Redact([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), "hunter2") || strings.Count(string(got), Redacted) != 3 || !strings.Contains(string(got), "# a router") {
		t.Errorf("%s", got)
	}
}

func TestRedactKeepsTheMeaning(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		redacted, err := Redact(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		before, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		after, err := Parse(redacted)
		if err != nil {
			t.Fatalf("%s: the redacted text is refused: %v\n%s", file, err, redacted)
		}
		for _, c := range []*Config{before, after} {
			c.Warnings = nil // they have lines
			for i := range c.Peers {
				if c.Peers[i].Password != "" {
					c.Peers[i].Password = Redacted
				}
				c.Peers[i].Line = 0
			}
			for i := range c.Pools {
				c.Pools[i].Line = 0
			}
			for i := range c.BFDProfiles {
				c.BFDProfiles[i].Line = 0
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s: another meaning:\n%s", file, redacted)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte("peers: [{password: secret, a: &x [*x]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if before, err := Parse(text); err == nil {
			redacted, err := Redact(text)
			if err != nil {
				t.Fatalf("a valid text cannot be redacted: %v", err)
			}
			after, err := Parse(redacted)
			if err != nil {
				t.Fatalf("the redacted text is refused: %v", err)
			}
			for i, p := range after.Peers {
				if p.Password != "" && (p.Password != Redacted || before.Peers[i].Password == "") {
					t.Errorf("password %q of %q", p.Password, before.Peers[i].Password)
				}
			}
			return
		}
		_, _ = Redact(text) // must not panic or hang
	})
}

func TestPasswordsAreFoundWhateverTheTextIs(t *testing.T) {
	for text, want := range map[string][]string{
		"peers: [{password: one}, {password: two}, {password: one}]": {"one", "two"},
		"peers:\n- password: &p |-\n    a b\n- password: *p\n":       {"a b"},
		"pears: [{password: 7}]\n---\nx: {password: ''}":             {"7"},
		"peers: [{password-secret: a}]":                              nil,
		"peers: [{password: [list]}]":                                nil,
		"\tno YAML: password: x":                                     nil,
	} {
		if got := Passwords([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}
