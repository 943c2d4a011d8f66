package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// The formats of check-config.
const (
	formatText   = "text"
	formatJSON   = "json"
	formatGitHub = "github"
)

var formats = []string{formatText, formatJSON, formatGitHub}

// The severities of findings.
const (
	severityError   = "error"
	severityWarning = "warning"
	severityInfo    = "info" // what the configuration would do in the cluster
)

// finding is what check-config found out about a file, as it prints it with --output=json.
type finding struct {
	File string `json:"file"`
	// Line and Column are those of the file, counted from 1; 0 if they are not known.
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Pool     string `json:"pool"`
	In       string `json:"in"`
	Key      string `json:"key"`
	Message  string `json:"message"`
}

// report is what check-config prints about one file.
type report struct {
	file     string
	source   configmap.Source
	inFile   bool // the lines of the source are lines of the file
	findings []finding
	text     bytes.Buffer // for --output=text
}

// add adds a finding, but not its text.
func (r *report) add(f finding) {
	f.File = r.file
	r.findings = append(r.findings, f)
}

// failure adds an error that is not about a line of a configuration. The command returns
// it, too, so it is not part of the text.
func (r *report) failure(err error) {
	r.add(finding{Severity: severityError, Message: err.Error()})
}

// problem adds an error or a warning of the parser, and its text.
func (r *report) problem(severity string, e *config.Error) {
	f := finding{Severity: severity, Pool: e.Pool, In: e.In, Key: e.Key, Message: e.Msg}
	file := r.file
	switch {
	case !r.inFile:
		file += " (value of " + configmap.Key + ")"
		if e.Line > 0 {
			f.Message = fmt.Sprintf("line %d of the configuration: %s", e.Line, e.Msg)
		}
	case e.Line > 0:
		f.Line = e.Line + r.source.Line
		if e.Column > 0 {
			f.Column = e.Column + r.source.Column
		}
	}
	r.add(f)
	if severity == severityWarning {
		r.text.WriteString("warning: ")
	}
	fmt.Fprintln(&r.text, config.Format(file, r.source.Text, config.Offset{Line: r.source.Line, Column: r.source.Column}, e))
}

func (r *report) warnings() int {
	count := 0
	for _, f := range r.findings {
		if f.Severity == severityWarning {
			count++
		}
	}
	return count
}

// printFindings prints the findings as JSON or for GitHub. As text they are printed already.
func printFindings(out io.Writer, format string, findings []finding) error {
	switch format {
	case formatJSON:
		if findings == nil {
			findings = []finding{} // an empty array instead of null
		}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(findings)
	case formatGitHub:
		for _, f := range findings {
			if _, err := fmt.Fprintln(out, annotation(f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Characters with a meaning in the workflow commands of GitHub Actions, as its toolkit
// escapes them (packages/core/src/command.ts).
var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotation returns the workflow command that shows a finding beside its line.
func annotation(f finding) string {
	command := f.Severity
	if command == severityInfo {
		command = "notice"
	}
	place := "file=" + escapeProperty.Replace(f.File)
	if f.Line > 0 {
		place += fmt.Sprintf(",line=%d", f.Line)
	}
	if f.Column > 0 {
		place += fmt.Sprintf(",col=%d", f.Column)
	}
	e := config.Error{Pool: f.Pool, In: f.In, Key: f.Key, Msg: f.Message}
	return fmt.Sprintf("::%s %s::%s", command, place, escapeData.Replace(e.Error()))
}
