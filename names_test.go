package project_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxTestName is the longest name that a line of test output shows well.
const maxTestName = 60

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	// noSubject matches names that do not begin with what they test.
	noSubject = regexp.MustCompile(`^Test(A|An|The|Of|If|When|What|Who|That|There)[A-Z][a-z]`)
)

func TestNamesBeginWithTheirSubjectAndAreShort(t *testing.T) {
	names := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range testFunction.FindAllStringSubmatch(string(text), -1) {
			name := match[1]
			names++
			if len(name) > maxTestName {
				t.Errorf("%s: %s has %d characters, at most %d are allowed", path, name, len(name), maxTestName)
			}
			if noSubject.MatchString(name) {
				t.Errorf("%s: %s does not begin with its subject", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if names < 300 {
		t.Errorf("only %d tests were found: the test looks in the wrong place", names)
	}
}
