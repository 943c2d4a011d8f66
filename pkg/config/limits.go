package config

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits of what is decoded. The YAML library needs up to a kilobyte of memory for each
// byte of some texts, and much time for others.
const (
	// maxText is the length of the longest text in bytes. A ConfigMap cannot hold more.
	maxText = 1 << 20
	// maxWeight limits the nodes that the YAML library makes. 14,000 pools, or 70,000
	// IPv4 addresses in their own lines, are below it.
	maxWeight = 150_000
	// maxOpen is how many brackets may be open at the same time. The grammar needs 8, the
	// manifest of another object perhaps 40.
	maxOpen = 100
	// maxIndent is the column of the innermost block in a line. The grammar needs 30, in a
	// manifest perhaps 50.
	maxIndent = 200
)

const byteOrderMark = "\ufeff"

// TooLarge returns an error if the text is so large, or so deeply nested, that decoding it
// would need too much memory or time, else nil. It reads the text once and decodes nothing.
func TooLarge(text []byte) *Error {
	if len(text) > maxText {
		return &Error{Msg: fmt.Sprintf("the text has %d bytes, and at most %d are read: a ConfigMap cannot hold more", len(text), maxText)}
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return &Error{Line: 1, Msg: "the text is encoded as UTF-16: save it as UTF-8"}
	}
	var s scale
	for number, rest := 1, bytes.TrimPrefix(text, []byte(byteOrderMark)); len(rest) > 0; number++ {
		var line []byte
		line, rest = cutLine(rest)
		if problem := s.add(line); problem != "" {
			return &Error{Line: number, Msg: problem}
		}
	}
	return nil
}

// scale weighs lines. The weight is at least half the number of nodes that the YAML
// library makes from them.
type scale struct{ weight, open int }

// add returns what is wrong with the line, or an empty string.
func (s *scale) add(line []byte) (problem string) {
	s.weight += weigh(line)
	for _, c := range line {
		switch c {
		case '[', '{':
			s.open++
		case ']', '}':
			s.open = max(0, s.open-1)
		}
		if s.open > maxOpen {
			return fmt.Sprintf("more than %d brackets are open at the same time: the configuration needs less than 10 (brackets in comments count, too)", maxOpen)
		}
	}
	switch {
	case s.weight > maxWeight:
		return "the text up to this line has too many keys, values and list elements: write ranges like 10.0.0.0/24 instead of single addresses"
	case blockColumns(line) > maxIndent:
		return fmt.Sprintf("the line is indented by more than %d columns", maxIndent)
	case bytes.HasPrefix(line, []byte("%TAG")): // the prefix of a tag can be long, and is repeated for each tag
		return "the YAML directive %TAG is not supported: remove this line"
	}
	return ""
}

// weigh counts the characters of a line that can begin or end a node.
func weigh(line []byte) int {
	weight := 1 // the end of the line
	if bytes.HasPrefix(line, []byte("---")) {
		weight += 2 // a document, and its decoder
	}
	if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
		weight++ // the library keeps comments, too
	}
	for i, c := range line {
		switch c {
		case ',':
			weight += 2 // in {a, b} a key and its empty value
		case '[', '{', '?':
			weight++
		case '-': // after a digit it may be a date, which the YAML library tries to read in four ways
			if in(line, i+1, " \t\r\n") || i > 0 && in(line, i-1, "0123456789") {
				weight++
			}
		case ':':
			if in(line, i+1, " \t\r\n,[]{}") || in(line, i-1, " \t\"',[]{}:?") {
				weight++
			}
		}
	}
	return weight
}

// in reports whether the character is one of the set, or outside the line.
func in(line []byte, i int, set string) bool {
	return i < 0 || i >= len(line) || strings.IndexByte(set, line[i]) >= 0
}

// blockColumns returns the column in which the innermost block of the line begins. Each of
// the characters before it can begin a block.
func blockColumns(line []byte) int {
	line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	if text := bytes.TrimSpace(line); len(text) == 0 || text[0] == '#' {
		return 0 // no block begins here
	}
	return len(line) - len(bytes.TrimLeft(line, " \t-?:"))
}

// cutLine returns the first line, with its line break, and the rest. It knows all line
// breaks of YAML 1.1, because the YAML library counts lines by them.
func cutLine(text []byte) (line, rest []byte) {
	for i, c := range text {
		switch {
		case c == '\n', c == '\r' && (i+1 == len(text) || text[i+1] != '\n'),
			c == 0x85 && bytes.HasSuffix(text[:i], []byte("\xc2")),
			(c == 0xa8 || c == 0xa9) && bytes.HasSuffix(text[:i], []byte("\xe2\x80")):
			return text[:i+1], text[i+1:]
		}
	}
	return text, nil
}

// lineOf returns a line, counted from 1, without its line break.
func lineOf(text []byte, number int) []byte {
	var line []byte
	for range number {
		if len(text) == 0 {
			return nil
		}
		line, text = cutLine(text)
	}
	return bytes.TrimRight(line, "\r\n\u0085\u2028\u2029")
}
