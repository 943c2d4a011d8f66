package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	// Line is counted from 1; 0 means that the line is not known.
	Line int
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
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
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
