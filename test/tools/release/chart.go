package main

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// sourceChart is the Helm chart of the sources.
type sourceChart struct {
	files  []*chart.File // without those that .helmignore names
	values map[string]any
}

func readChart(root string) (sourceChart, error) {
	c, err := loader.LoadDir(filepath.Join(root, "manifests", "helm"))
	if err != nil {
		return sourceChart{}, fmt.Errorf("reading the chart: %w", err)
	}
	return sourceChart{c.Raw, c.Values}, nil
}

// repository returns the repository of the image in the chart's values, or "".
func (c sourceChart) repository() string {
	image, _ := c.values["image"].(map[string]any)
	repository, _ := image["repository"].(string)
	return repository
}

// splitRepository returns the registry at the beginning of a repository's name, or "", and the rest. A part before
// the first slash is a registry if it has a dot or a colon, or is localhost.
func splitRepository(name string) (registry, repository string) {
	first, rest, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, rest
	}
	return "", name
}

// replacement changes one line of a file of the chart. Editing the text keeps the comments.
type replacement struct {
	file, line string // a regular expression that matches exactly one line
	with       string
}

// chart writes the chart as a package, with the version and the image of the release. Helm's
// own packager would write the time at which it runs.
func (out *output) chart(c sourceChart) error {
	registry, repository := splitRepository(out.ImageRepository)
	replacements := []replacement{
		{"Chart.yaml", `version: .*`, "version: " + out.plain()},
		{"Chart.yaml", `appVersion: .*`, "appVersion: " + out.Version},
		{"values.yaml", `  repository: ` + regexp.QuoteMeta(c.repository()), "  repository: " + repository},
		{"values.yaml", `  registry: ""`, fmt.Sprintf("  registry: %q", registry)},
	}
	license, err := out.license()
	if err != nil {
		return err
	}
	entries := []entry{{name: project + "/LICENSE", data: license}}
	for _, file := range c.files {
		data := file.Data
		for _, r := range replacements {
			if r.file != file.Name {
				continue
			}
			line := regexp.MustCompile("(?m)^" + r.line + "$")
			if n := len(line.FindAll(data, -1)); n != 1 {
				return fmt.Errorf("packing the chart: %s has %d lines %q, want one", r.file, n, r.line)
			}
			data = line.ReplaceAllLiteral(data, []byte(r.with))
		}
		entries = append(entries, entry{name: project + "/" + file.Name, data: data})
	}
	return out.file(project+"-"+out.plain()+".tgz", func(w io.Writer) error { return writeTarGz(w, out.Time, entries) })
}
