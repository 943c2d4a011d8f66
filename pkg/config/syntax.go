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

// maxPrefixes limits how many prefixes of a long file syntaxErrorLine parses.
const maxPrefixes = 1000

// syntaxErrorLine returns the line, counted from 1, after the longest prefix of whole
// lines that is valid YAML. It does not use the line of the YAML library's error: that
// is often the line on which the surrounding block begins, even the first of the file.
func syntaxErrorLine(text []byte) int {
	reader := &lineReader{lines: bytes.SplitAfter(text, []byte("\n"))}
	if !broken(reader) {
		return 0
	}
	read := reader.next // the error is not after the lines that the library has read
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

// lineReader returns one line for each Read, to see how far the YAML library reads.
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
