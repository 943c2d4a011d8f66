package main

import (
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

var legendLabel = regexp.MustCompile(`{{\s*([^{}]+?)\s*}}`)

// legend returns the name of a series. The format has {{label}} where the value of a label is put. The format
// "__auto" means the labels, or the query if the series has none.
func legend(format, query string, metric labels.Labels) string {
	if format == "" || format == "__auto" {
		if metric.IsEmpty() {
			return query
		}
		return metric.String()
	}
	return strings.TrimSpace(legendLabel.ReplaceAllStringFunc(format, func(found string) string {
		return metric.Get(legendLabel.FindStringSubmatch(found)[1])
	}))
}
