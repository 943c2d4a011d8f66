package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

// changelog writes the part of CHANGELOG.md about this version. While no part has its name,
// that is the part "Unreleased".
func (out *output) changelog() error {
	text, err := os.ReadFile(filepath.Join(out.Root, "CHANGELOG.md"))
	if err != nil {
		return fmt.Errorf("reading what has changed: %w", err)
	}
	part := section(string(text), out.plain())
	if part == "" {
		fmt.Fprintf(out.Log, "Warning: CHANGELOG.md has no heading \"## %s\". The part \"Unreleased\" is used. Before a release, rename this heading.\n", out.plain())
		part = section(string(text), "Unreleased")
	}
	if part == "" {
		return fmt.Errorf("CHANGELOG.md has neither a heading \"## %s\" nor \"## Unreleased\": write what has changed", out.plain())
	}
	return out.text("CHANGELOG.md", absoluteLinks("# "+out.Version+"\n"+part, images.Source+"/blob/"+out.Version+"/"))
}

// section returns what follows the heading with this title, up to the next heading of the same
// level. The heading can have more words, such as a date.
func section(text, title string) string {
	heading := regexp.MustCompile(`(?m)^## \[?` + regexp.QuoteMeta(title) + `\]?( .*)?$`)
	at := heading.FindStringIndex(text)
	if at == nil {
		return ""
	}
	part, _, _ := strings.Cut(text[at[1]:], "\n## ")
	return "\n" + strings.Trim(part, "\n") + "\n"
}

var relativeLink = regexp.MustCompile(`\]\(([^)#:]+[)#])`)

// absoluteLinks replaces links that are relative to the file, because the text is shown
// elsewhere.
func absoluteLinks(text, base string) string {
	return relativeLink.ReplaceAllString(text, "]("+base+"$1")
}
