package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenses are the texts of licenses, each with the files that have it, like "golang.org/x/net v0.62.0: LICENSE".
type licenses map[string][]string

// legal matches the names of files with a license or a notice that must go with the programs.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([-._].*)?$`)

// licenses reads the licenses of all modules: those in the directories of the packages that are linked, and in the
// directories above them, up to that of the module.
func (m modules) licenses() (licenses, error) {
	found := licenses{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		dirs := map[string]bool{}
		for sub := range m[name].packages {
			for dir := filepath.ToSlash(sub); ; dir = path.Dir(dir) {
				dirs[dir] = true
				if dir == "." {
					break
				}
			}
		}
		files := 0
		for _, dir := range slices.Sorted(maps.Keys(dirs)) {
			n, err := found.read(name, m[name].dir, dir)
			if err != nil {
				return nil, fmt.Errorf("reading the licenses of %s: %w", name, err)
			}
			files += n
		}
		if files == 0 {
			return nil, fmt.Errorf("the module %s has no file with a license in %s: look for it, and add its name to the expression \"legal\" in test/tools/licenses", name, m[name].dir)
		}
	}
	return found, nil
}

// read adds the licenses in a directory of a module, and returns how many these are.
func (l licenses) read(name, root, dir string) (files int, err error) {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !legal.MatchString(e.Name()) || path.Ext(e.Name()) == ".go" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, dir, e.Name()))
		if err != nil {
			return 0, err
		}
		text := strings.Trim(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
		l[text] = append(l[text], name+": "+path.Join(dir, e.Name()))
		files++
	}
	return files, nil
}

const line = "--------------------------------------------------------------------------------\n"

// format returns the file. A text that many modules have is in it once.
func format(l licenses) string {
	texts := slices.SortedFunc(maps.Keys(l), func(a, b string) int { return strings.Compare(l[a][0], l[b][0]) })
	var out strings.Builder
	out.WriteString("Licenses and notices of the Go modules that are linked into the programs.\nEach text stands below the files that have it. For the source code of a module, run: go mod download MODULE@VERSION\n")
	for _, text := range texts {
		out.WriteString("\n" + line + strings.Join(l[text], "\n") + "\n" + line + "\n" + text + "\n")
	}
	return out.String()
}
