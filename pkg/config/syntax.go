package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

func syntaxError(text []byte, err error) *Error {
	return &Error{Line: syntaxErrorLine(text), Msg: "not valid YAML: " + yamlPrefix.ReplaceAllString(err.Error(), "")}
}

// maxPrefixes bounds the work that syntaxErrorLine spends on a long file.
const maxPrefixes = 1000

// syntaxErrorLine returns the line, counted from 1, after the longest run of
// whole lines that is valid. The YAML library itself often names the line on
// which the surrounding block begins, which may be the first of the file.
func syntaxErrorLine(text []byte) int {
	reader := &lineReader{lines: bytes.SplitAfter(text, []byte("\n"))}
	if !broken(reader) {
		return 0
	}
	read := reader.next // the error is not behind what was read
	for n := read; n > max(0, read-maxPrefixes); n-- {
		if !broken(bytes.NewReader(bytes.Join(reader.lines[:n-1], nil))) {
			return n
		}
	}
	return 0
}

func broken(r io.Reader) bool {
	var document yaml.Node
	err := yaml.NewDecoder(r).Decode(&document)
	return err != nil && !errors.Is(err, io.EOF)
}

// lineReader gives one line at a time, to see how far the parser has come.
type lineReader struct {
	lines [][]byte
	next  int
	rest  []byte
}

func (r *lineReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.next == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.next]
		r.next++
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
