package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Documents returns the documents of a YAML text. If a part of the text is not valid YAML,
// it returns the documents before that part, and an error that names the line. It refuses
// a text that is TooLarge.
func Documents(text []byte) ([]*yaml.Node, *Error) {
	if e := TooLarge(text); e != nil {
		return nil, e
	}
	reader := &lineReader{rest: text}
	documents, err := decode(reader)
	if err != nil {
		return documents, syntaxError(text, err, reader.lines)
	}
	return documents, nil
}

func decode(r io.Reader) (documents []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(r)
	for {
		document := &yaml.Node{}
		err := decoder.Decode(document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return documents, err
		}
		documents = append(documents, document)
	}
}

// lineReader returns one line for each Read, to see how far the YAML library reads.
type lineReader struct {
	rest, line []byte // line is the part of the present line that was not read yet
	lines      int
}

func (r *lineReader) Read(b []byte) (int, error) {
	if len(r.line) == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		r.line, r.rest = cutLine(r.rest)
		r.lines++
	}
	n := copy(b, r.line)
	r.line = r.line[n:]
	return n, nil
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntaxError returns the error of the YAML library in plain words where the cause is
// known. read is the number of lines that the library had read when it found the error.
func syntaxError(text []byte, err error, read int) *Error {
	line := syntaxErrorLine(text, read)
	e := syntaxCause(text, line)
	if e == nil {
		e = &Error{Line: line, Msg: shorten(yamlPrefix.ReplaceAllString(err.Error(), ""), 200)}
	}
	e.Msg = "not valid YAML: " + e.Msg
	explainLines(text, Errors{e})
	return e
}

// searchBudget limits how much syntaxErrorLine decodes: the weight of the prefixes, and a
// sixteenth of their lengths in bytes.
const searchBudget = 80_000

// syntaxErrorLine returns the line, counted from 1, after the longest prefix of whole
// lines that is valid YAML. It does not use the line of the YAML library's error: that
// is often the line on which the surrounding block begins, even the first of the file.
// The error is not after the lines that the library has read.
//
// A prefix can only be valid if no bracket and no quote is open at its end, so few prefixes
// are decoded. If even they are too long, the longest of them counts as valid.
func syntaxErrorLine(text []byte, read int) int {
	ends := closedEnds(text, read-1)
	budget := searchBudget
	for _, end := range slices.Backward(ends) {
		prefix := text[:end.offset]
		if budget -= end.weight + len(prefix)/16; budget < 0 {
			break
		}
		if _, err := decode(bytes.NewReader(prefix)); err == nil {
			return end.line + 1
		}
	}
	return ends[len(ends)-1].line + 1
}

// maxEnds is how many ends of lines closedEnds returns.
const maxEnds = 50

// lineEnd is the end of a line, counted from 1, in a text; line 0 ends where the text
// begins. The weight is that of the text up to there.
type lineEnd struct{ line, offset, weight int }

// closedEnds returns the last ends of the first lines of a text at which no bracket and no
// quote is open. There is at least one.
func closedEnds(text []byte, lines int) []lineEnd {
	ends := []lineEnd{{}}
	var present lineEnd
	var open nesting
	for rest := text; present.line < lines && len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		open.add(line)
		present = lineEnd{present.line + 1, present.offset + len(line), present.weight + weigh(line)}
		if open.brackets == 0 && open.quote == 0 {
			ends = append(ends, present)
		}
		if len(ends) == 2*maxEnds {
			ends = slices.Delete(ends, 0, maxEnds)
		}
	}
	return ends
}

// nesting follows brackets and quotes from line to line. It does not know block scalars
// (after | and >), which a configuration does not need.
type nesting struct {
	brackets int
	quote    byte // 0 outside quotes
}

func (n *nesting) add(line []byte) {
	last := byte(0) // the last character before c that is not blank
	for i := 0; i < len(line); i++ {
		c := line[i]
		begins := last == 0 || strings.IndexByte("[{,:-?", last) >= 0 // a value or a key begins here
		if c != ' ' && c != '\t' {
			last = c
		}
		switch {
		case n.quote != 0:
			i += n.insideQuote(line[i:])
		case c == '#' && in(line, i-1, " \t"):
			return // a comment
		case (c == '"' || c == '\'') && begins:
			n.quote = c
		case (c == '[' || c == '{') && (begins || n.brackets > 0):
			n.brackets++
		case (c == ']' || c == '}') && n.brackets > 0:
			n.brackets--
		}
	}
}

// insideQuote reads the first character of the rest of a line. It returns how many more
// characters belong to it.
func (n *nesting) insideQuote(rest []byte) int {
	switch {
	case n.quote == '"' && rest[0] == '\\', n.quote == '\'' && bytes.HasPrefix(rest, []byte("''")):
		return 1
	case rest[0] == n.quote:
		n.quote = 0
	}
	return 0
}
