package main

import (
	"fmt"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// readConfiguration returns the configuration in a file. If it is not valid, the error shows each
// mistake with its line, and the exit status is 1; it is 2 if the file could not be read.
func readConfiguration(o *options, file string) ([]byte, error) {
	content, err := readFile(o.In, file)
	if err != nil {
		return nil, notDone(err)
	}
	source, err := configmap.Text(content, o.configMap)
	if err != nil {
		return nil, notValid(fmt.Errorf("%s: %w", file, err))
	}
	if _, err := config.Parse(source.Text); err != nil {
		return nil, notValid(fmt.Errorf("%s is not valid:\n%s", file, describeErrors(file, source, err)))
	}
	return source.Text, nil
}

// describeErrors returns the errors of the parser with the lines that they are about.
func describeErrors(file string, source configmap.Source, err error) string {
	list, ok := err.(config.Errors)
	if !ok {
		return err.Error()
	}
	var texts []string
	for _, e := range list {
		texts = append(texts, config.Format(file, source.Text, config.Offset{Line: source.Line, Column: source.Column}, e))
	}
	return strings.Join(texts, "\n")
}
