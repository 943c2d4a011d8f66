package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxErrors is how many errors, and how many warnings, Parse lists. If there are more, the
// list ends with one more Error, without a line, that says how many.
const MaxErrors = 50

// maxCounted is the number of errors at which the parser stops reading. A text can repeat
// one mistake thousands of times.
const maxCounted = 1000

// Error is one thing that is wrong with a configuration.
type Error struct {
	// Line is counted from 1; 0 means that the line is not known.
	Line int
	// Column is counted from 1, in characters; 0 means that the column is not known.
	Column int
	// Pool is the name of the pool, "#2" for the second pool if it has no name, or
	// empty if the error is not about a pool.
	Pool string
	// In is the element of a list that contains the error, like "peer #1", or empty.
	In string
	// Key is the key with the error, or empty.
	Key string
	// Msg says what is wrong, and how to correct it.
	Msg string
}

// Error returns `line 4: pool "default": addresses: …`.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.withoutLine())
	}
	return e.withoutLine()
}

func (e *Error) withoutLine() string {
	var b strings.Builder
	if e.Pool != "" {
		fmt.Fprintf(&b, "pool %q: ", e.Pool)
	}
	if e.In != "" {
		fmt.Fprintf(&b, "%s: ", e.In)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	return b.String() + e.Msg
}

// Errors is everything that is wrong with a configuration, in the order of lines.
type Errors []*Error

// Error returns one line for each error.
func (errs Errors) Error() string {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (errs Errors) sorted() Errors {
	slices.SortStableFunc(errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return errs
}

// collector keeps the first MaxErrors errors or warnings, and counts all.
type collector struct {
	kept  Errors
	count int
}

func (c *collector) full() bool { return len(c.kept) == MaxErrors }

func (c *collector) add(e *Error) {
	c.count++
	if !c.full() {
		c.kept = append(c.kept, e)
	}
}

// list returns what was collected. The noun is "error" or "warning". complete is false if
// nobody knows how many there are after the last one that was counted.
func (c *collector) list(noun string, complete bool) Errors {
	list := c.kept.sorted()
	more := c.count - len(list)
	switch {
	case more > 0 && !complete:
		list = append(list, &Error{Msg: fmt.Sprintf("and at least %d more %ss: the rest of the text was not read", more, noun)})
	case more == 1:
		list = append(list, &Error{Msg: "and 1 more " + noun})
	case more > 1:
		list = append(list, &Error{Msg: fmt.Sprintf("and %d more %ss", more, noun)})
	}
	return list
}
