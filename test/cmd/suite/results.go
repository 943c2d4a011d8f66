package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// results is the part of a report in JUnit's format that this program keeps: the tests that
// ran, and why they failed. Ginkgo writes names, times in seconds, and states.
type results struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []struct {
		Name  string     `xml:"name,attr"`
		Time  string     `xml:"time,attr"`
		Cases []testCase `xml:"testcase"`
	} `xml:"testsuite"`
}

type testCase struct {
	Name    string   `xml:"name,attr"`
	Status  string   `xml:"status,attr"`
	Time    string   `xml:"time,attr"`
	Failure *failure `xml:"failure"`
	Error   *failure `xml:"error"` // the test has panicked or was interrupted
	Skipped *failure `xml:"skipped"`
}

type failure struct {
	Message string `xml:"message,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// read reads a report, and keeps the tests that ran or were skipped for a reason.
func read(file string) (*results, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	r := &results{}
	if err := xml.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading the results in %s: %w", file, err)
	}
	for i := range r.Suites {
		r.Suites[i].Cases = slices.DeleteFunc(r.Suites[i].Cases, func(c testCase) bool {
			// A test that was skipped without a reason does not match -focus. There are
			// thousands of these.
			return !strings.HasPrefix(c.Name, "[It]") || c.Skipped != nil && c.Skipped.Message == "skipped"
		})
	}
	return r, nil
}

// write writes the results to a file, and makes the directory of the file.
func (r *results) write(file string) error {
	text, err := xml.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// labels matches the labels in the name of a test.
var labels = regexp.MustCompile(`^\[It\] \[sig-network\] | \[[^]]*\]`)

// print writes the results as a table in Markdown.
func (r *results) print(w io.Writer, protocol string) {
	passed, all := 0, 0
	fmt.Fprintf(w, "\n| with `protocol: %s` | | seconds |\n|---|---|---|\n", protocol)
	for _, suite := range r.Suites {
		for _, c := range suite.Cases {
			all++
			if c.Status == "passed" {
				passed++
			}
			fmt.Fprintf(w, "| %s | %s | %.6s |\n", labels.ReplaceAllString(c.Name, ""), c.Status, c.Time)
		}
	}
	fmt.Fprintf(w, "\n%d of %d passed.\n", passed, all)
}
