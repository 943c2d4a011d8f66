package project_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// notInAnchor is what a forge removes from a heading when it makes the anchor.
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
)

// pages returns the Markdown files of the project, by path, without code blocks.
func pages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "bin" || path == "dist" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			pages[path] = fence.ReplaceAllString(string(text), "")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// anchors returns the anchors of a page's headings.
func anchors(page string) map[string]bool {
	anchors := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		text := strings.ToLower(notInAnchor.ReplaceAllString(h[1], ""))
		anchors[strings.ReplaceAll(text, " ", "-")] = true
	}
	return anchors
}

func TestDocsLinksAreValid(t *testing.T) {
	pages := pages(t)
	links := 0
	for path, text := range pages {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, match[1])
				continue
			}
			if anchor != "" && !anchors(pages[file])[anchor] {
				t.Errorf("%s links to %s, but that page has no such heading", path, match[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found: the test looks in the wrong place", links)
	}
}

func TestDocsAreInTheIndex(t *testing.T) {
	index := pages(t)[filepath.Join("docs", "README.md")]
	for path := range pages(t) {
		rest, ok := strings.CutPrefix(path, "docs"+string(filepath.Separator))
		if !ok || rest == "README.md" || filepath.Dir(rest) == "design" {
			continue // docs/design has an index of its own
		}
		if !strings.Contains(index, "("+filepath.ToSlash(rest)) {
			t.Errorf("%s is not in docs/README.md", path)
		}
	}
}
