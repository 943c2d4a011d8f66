package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// reference is a variable in a query: $name, ${name} or ${name:format}.
var reference = regexp.MustCompile(`\$(?:(\w+)|\{(\w+)(?::\w+)?\})`)

// substitute puts the values of the variables into a query. An unknown variable is an error: Grafana would send
// its name to Prometheus.
func substitute(query string, values map[string]string) (string, error) {
	var unknown []string
	text := reference.ReplaceAllStringFunc(query, func(found string) string {
		match := reference.FindStringSubmatch(found)
		name := match[1] + match[2]
		value, ok := values[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return value
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("%s: there is no variable %s", query, strings.Join(unknown, ", "))
	}
	return text, nil
}

// chosen returns the value of a variable for which the user has chosen these values. It is a regular expression,
// as Grafana makes it for Prometheus. No choice means all.
func chosen(values []string, all string) string {
	if len(values) == 0 {
		return all
	}
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`)) // it becomes part of a string
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, "|") + ")"
}

// steps are the times between two points of a line that Grafana uses.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// stepOf returns $__interval: the one of the steps that is nearest to a point for each pixel, but not less than
// the time between two scrapes.
func stepOf(period time.Duration, pixels int, scrapes time.Duration) time.Duration {
	exact := period / time.Duration(max(1, pixels))
	best := steps[0]
	for _, s := range steps {
		if (s - exact).Abs() < (best - exact).Abs() {
			best = s
		}
	}
	return max(best, scrapes)
}

// intervals returns the variables that Grafana itself gives to a query.
func intervals(step, period, scrapes time.Duration) map[string]string {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Round(time.Second)/time.Second)) }
	return map[string]string{
		"__interval":      seconds(step),
		"__rate_interval": seconds(max(step+scrapes, 4*scrapes)),
		"__range":         seconds(period),
	}
}
