package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Offset is where the text of a configuration stands in a file, like the manifest of its
// ConfigMap. It is zero if the file is the text itself.
type Offset struct {
	// Line is the number of lines of the file before the first line of the text.
	Line int
	// Column is by how many columns the file indents the lines of the text.
	Column int
}

// excerptWidth is the length in characters of the longest excerpt.
const excerptWidth = 120

// Format returns an error for people, in up to three lines without a line break at the
// end: the place in the file and the error, the line of the text, and a caret under the
// column. text is what was parsed. What is not known is left out. With an offset, the first
// line also has the number of the line in the text, by which Events and logs name it.
func Format(file string, text []byte, offset Offset, e *Error) string {
	if e.Line <= 0 {
		return file + ": " + e.withoutLine()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:", file, e.Line+offset.Line)
	if e.Column > 0 {
		fmt.Fprintf(&b, "%d:", e.Column+offset.Column)
	}
	b.WriteString(" " + e.withoutLine())
	if offset.Line > 0 {
		fmt.Fprintf(&b, " (line %d of the configuration)", e.Line)
	}
	line := lineOf(bytes.TrimPrefix(text, []byte(byteOrderMark)), e.Line)
	shown, caret := excerpt(withoutPassword(line), e.Column)
	if shown != "" {
		b.WriteString("\n    " + shown)
	}
	if caret >= 0 && shown != "" {
		b.WriteString("\n    " + strings.Repeat(" ", caret) + "^")
	}
	return b.String()
}

// withoutPassword replaces the values of the key password, because excerpts end up in the
// logs of CI systems.
func withoutPassword(line []byte) []byte {
	return password.ReplaceAllFunc(line, func(found []byte) []byte {
		key := bytes.IndexByte(found, ':') + 1
		return append(bytes.Clone(found[:key]), bytes.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return r
			}
			return '*'
		}, found[key:])...)
	})
}

var password = regexp.MustCompile(`\bpassword["']?\s*:[^,}#]*`)

// excerpt returns the part of a line around a column, and the place of the column in it,
// counted from 0, or -1 if it is not known. Characters that a terminal does not print are
// replaced.
func excerpt(line []byte, column int) (shown string, caret int) {
	length := utf8.RuneCount(line)
	caret = column - 1
	if caret > length {
		caret = -1
	}
	first := 0
	if length > excerptWidth {
		first = max(0, min(caret-excerptWidth/2, length-excerptWidth))
	}
	var b strings.Builder
	if first > 0 {
		b.WriteRune('…')
		caret++
	}
	for place := 0; len(line) > 0 && place < first+excerptWidth; place++ {
		r, size := utf8.DecodeRune(line)
		line = line[size:]
		if place >= first {
			b.WriteRune(visible(r))
		}
	}
	if len(line) > 0 {
		b.WriteRune('…')
	}
	if caret >= 0 {
		caret -= first
	}
	return b.String(), caret
}

// visible returns the character, or one that stands for it in an excerpt.
func visible(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case !unicode.IsPrint(r):
		return unicode.ReplacementChar
	}
	return r
}
