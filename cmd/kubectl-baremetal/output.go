package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The formats of results.
const (
	formatTable = ""
	formatWide  = "wide"
	formatYAML  = "yaml"
)

// errProblems is the result of a command that has found problems, and has printed them.
var errProblems = exitError{errors.New(""), 1}

// notDone is an error because of which a command could not find out anything.
func notDone(err error) error { return exitError{err, 2} }

// addOutput adds the flag --output with the formats that a command has, beside the one for people.
func addOutput(command *cobra.Command, format *string, formats ...string) {
	command.Flags().StringVarP(format, "output", "o", formatTable, "Format of the output: "+strings.Join(formats, ", ")+". By default it is for people.")
	if err := command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag exists
	}
	command.PreRunE = func(*cobra.Command, []string) error {
		if *format != formatTable && !slices.Contains(formats, *format) {
			return notDone(fmt.Errorf("--output %q is not one of %s", *format, strings.Join(formats, ", ")))
		}
		return nil
	}
}

// printObject prints a result as JSON or YAML, and reports whether the format is one of these.
func printObject(out io.Writer, format string, object any) (done bool, err error) {
	switch format {
	case formatJSON:
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return true, encoder.Encode(object)
	case formatYAML:
		text, err := yaml.Marshal(object)
		if err == nil {
			_, err = out.Write(text)
		}
		return true, err
	}
	return false, nil
}

// table prints rows with aligned columns. An error of the writer stays until flush.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) table { return table{tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)} }

func (t table) row(cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t table) flush() error { return t.w.Flush() }
