package tutorial

import (
	"slices"
	"testing"
)

func TestParseReturnsTitlesAndCommands(t *testing.T) {
	got := Parse("# One\ntext\n```console\n$ a\nA\nB\n$ b\n```\n$ no\n## Two\n```\n$ no\n```\n")
	want := []Step{{Title: "One"}, {Command: "a", Output: "A\nB\n"}, {Command: "b"}, {Title: "Two"}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestOutputMatches(t *testing.T) {
	for _, test := range []struct {
		shown, output string
		want          bool
	}{
		{"", "", true},
		{"", "x\n", false},
		{"a\n", "a\n", true},
		{"a\n", "b\n", false},
		{"a.c\n", "abc\n", false},
		{"a   b\n", "a b\n", true},
		{"a …/TCP b\n", "a 80:31000/TCP b\n", true},
		{"…\nb\n", "b\n", true},
		{"…\nb\n", "a\na\nb\n", true},
		{"…\nb\n", "a\na\nc\n", false},
		{"a\n…\n", "a\nb\nc\n", true},
	} {
		if got := (Step{Output: test.shown}).Matches(test.output); got != test.want {
			t.Errorf("%q matches %q: %v, want %v", test.shown, test.output, got, test.want)
		}
	}
}

func TestShellKeepsVariables(t *testing.T) {
	var s Shell
	if _, err := s.Run(t.Context(), "x=$(echo node1); echo $x"); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Run(t.Context(), "echo is $x"); out != "is node1\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := s.Run(t.Context(), "false"); err == nil {
		t.Error("Run returned no error for a command that failed")
	}
}
