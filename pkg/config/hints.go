package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// mergeMarkers are the lines that git writes around the two sides of a conflict.
var mergeMarkers = []string{"<<<<<<<", "=======", ">>>>>>>"}

// syntaxCause looks for a usual cause of a syntax error on a line, or just before it. It
// returns nil if there is none.
func syntaxCause(text []byte, at int) *Error {
	var before [3][]byte // the lines before the one with the error, the nearest first
	number := 0
	var cause *Error
	for rest := text; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		number++
		if marker := mergeMarker(line); marker != "" {
			return &Error{Line: number, Column: 1, Msg: fmt.Sprintf("%q marks a merge conflict: choose one of the two sides, and remove the markers", marker)}
		}
		if number == at {
			cause = lineCause(line, before[:], number)
		}
		before[0], before[1], before[2] = line, before[0], before[1]
	}
	return cause
}

func mergeMarker(line []byte) string {
	for _, marker := range mergeMarkers {
		if rest, ok := bytes.CutPrefix(line, []byte(marker)); ok && (len(rest) == 0 || in(rest, 0, " \r\n")) {
			return marker
		}
	}
	return ""
}

// lineCause looks at the line with the error, and at the lines before it, the nearest first.
func lineCause(line []byte, before [][]byte, number int) *Error {
	if i := bytes.IndexByte(indentation(line), '\t'); i >= 0 {
		return &Error{Line: number, Column: i + 1, Msg: "the line is indented with a tab, and YAML allows only spaces there: replace the tab with spaces"}
	}
	for i, l := range append([][]byte{line}, before...) {
		words := bytes.TrimLeft(l, " -")
		written, ok := gluedKey(firstWord(words), grammarKeys)
		if ok && number-i > 0 {
			return &Error{Line: number - i, Column: len(l) - len(words) + 1, Msg: "there is no space after the colon: write " + quote.Short(written)}
		}
	}
	return nil
}

// firstWord returns the text up to the first space, without what follows a long word.
func firstWord(text []byte) string {
	word, _, _ := bytes.Cut(text[:min(len(text), maxScalar)], []byte(" "))
	return string(word)
}

func indentation(line []byte) []byte {
	return line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
}

// explainLines adds to errors what their lines have that nobody sees, or that another
// program should have replaced. The errors are in the order of lines.
func explainLines(text []byte, errs Errors) {
	number, rest, hint := 0, bytes.TrimPrefix(text, []byte(byteOrderMark)), ""
	for _, e := range errs {
		for number < e.Line && len(rest) > 0 {
			var line []byte
			line, rest = cutLine(rest)
			if number++; number == e.Line {
				hint = lineHint(line)
			}
		}
		if number > 0 && number == e.Line {
			e.Msg += hint
		}
	}
}

// lineHint returns the end of an error about a line, or an empty string.
func lineHint(line []byte) string {
	for _, brackets := range [][2]string{{"{{", "}}"}, {"${", "}"}} {
		_, rest, opened := bytes.Cut(line, []byte(brackets[0]))
		if name, _, closed := bytes.Cut(rest, []byte(brackets[1])); opened && closed {
			found := brackets[0] + shorten(string(name[:min(len(name), maxScalar)]), 40) + brackets[1]
			return fmt.Sprintf("; the line has the template %s, which was not replaced with its value: render the file first", printable(found))
		}
	}
	column := 0
	for rest := line; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		column++
		if name, remedy := invisible(r); name != "" {
			return fmt.Sprintf("; column %d has %s (U+%04X): %s", column, name, r, remedy)
		}
	}
	return ""
}

// invisible names a character that looks like a space or like nothing, and says what to do
// with it. For all other characters the name is empty.
func invisible(r rune) (name, remedy string) {
	switch {
	case r == 0xa0, r == 0x2007, r == 0x202f:
		return "a no-break space", "replace it with a space"
	case r == 0x1680, r >= 0x2000 && r <= 0x200a, r == 0x205f, r == 0x3000:
		return "a space that YAML does not know", "replace it with a space"
	case r == 0xad, r == 0x180e, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
		return "an invisible character", "remove it"
	}
	return "", ""
}

// shorten cuts a text after a number of bytes, or a little before.
func shorten(text string, length int) string {
	if len(text) <= length {
		return text
	}
	return strings.ToValidUTF8(text[:length], "") + "…"
}
