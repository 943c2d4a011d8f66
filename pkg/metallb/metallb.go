// Package metallb converts the configuration of MetalLB to the text of this project's
// configuration. It reads the custom resources of MetalLB 0.13 to 0.16, and the ConfigMap
// of MetalLB 0.12 and older.
//
// It says of every field what became of it, and it drops nothing silently. The text that it
// returns is valid: pkg/config has parsed it.
package metallb

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Outcome is what became of a field.
type Outcome string

// The outcomes.
const (
	// Carried means that the text has the same, or that the field has the default of this
	// project.
	Carried Outcome = "carried"
	// Changed means that the text has something similar.
	Changed Outcome = "changed"
	// NotCarried means that the text does not have what the field says.
	NotCarried Outcome = "not-carried"
	// Ignored means that it is no configuration of MetalLB, for example a status.
	Ignored Outcome = "ignored"
)

// Note says what became of a field of an object.
type Note struct {
	// Source is the file of the object, Document the place of the YAML document in it, and
	// Line the line of the field. Both are counted from 1, and 0 for an object of the cluster.
	Source   string `json:"source"`
	Document int    `json:"document"`
	Line     int    `json:"line"`
	// Kind, Namespace and Name are those of the object.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Field is the path of the field, like spec.nodeSelectors. It is empty if the note is about
	// the whole object.
	Field   string  `json:"field"`
	Outcome Outcome `json:"outcome"`
	// Key is the key of this project's configuration that has the value, or empty.
	Key string `json:"key"`
	// Message says why the outcome is not Carried, and what to do. It is empty for most fields
	// that are carried over.
	Message string `json:"message"`

	object *object
	pool   string // the note is about the use of the object in this pool
	quiet  bool   // another note of the object says why
}

// Subject returns the kind and name of the object, and the field.
func (n Note) Subject() string {
	text := n.Kind + " " + n.Name
	if n.Field != "" {
		text += ": " + n.Field
	}
	if n.pool != "" {
		text += fmt.Sprintf(" (pool %q)", n.pool)
	}
	return text
}

// String returns `pools.yaml:4: document 1: IPAddressPool a: spec.addresses: …`.
func (n Note) String() string {
	place := n.Source
	if n.Document > 0 {
		place = fmt.Sprintf("%s:%d: document %d", n.Source, n.Line, n.Document)
	}
	return fmt.Sprintf("%s: %s: %s", place, n.Subject(), n.Message)
}

// Result is a converted configuration.
type Result struct {
	// Text is the configuration, with comments for the person who reviews it.
	Text string
	// Notes say what became of each field, in the order of the objects.
	Notes []Note
	// Warnings are those of pkg/config about Text.
	Warnings config.Errors
}

// Count returns how many notes have the outcome.
func (r Result) Count(outcome Outcome) (count int) {
	for _, n := range r.Notes {
		if n.Outcome == outcome {
			count++
		}
	}
	return count
}

// ForPeople returns the notes that a person should read: something changed or was not
// carried over, and no other note of the object says why.
func (r Result) ForPeople() (notes []Note) {
	for _, n := range r.Notes {
		if n.forPeople() {
			notes = append(notes, n)
		}
	}
	return notes
}

// Options say what the cluster of this project is like.
type Options struct {
	// Classes are the values of spec.loadBalancerClass that are served.
	Classes []string
}

// Convert converts the objects. The error lists everything that is wrong, and names for
// each the file, the document, the object and the field.
func Convert(sources []Source, options Options) (Result, error) {
	c := &converter{options: options, table: newTable(), used: map[*object]bool{}, noted: map[Note]bool{}, fieldNoted: map[fieldOfObject]bool{}}
	var objects []*object
	for _, s := range sources {
		found, errs := read(s)
		objects, c.errs = append(objects, found...), append(c.errs, errs...)
	}
	c.readObjects(objects)
	if len(c.errs) == 0 && !c.hasResources && len(c.legacy) == 0 {
		return Result{}, fmt.Errorf("the input has no configuration of MetalLB: it has neither custom resources of %s nor a ConfigMap with address-pools", group)
	}
	if len(c.errs) > 0 {
		return Result{}, c.errs
	}
	text, origins := c.text()
	if len(c.errs) > 0 {
		return Result{}, c.errs
	}
	parsed, err := config.Parse([]byte(text))
	if err != nil {
		return Result{}, c.explain(err, origins)
	}
	slices.SortStableFunc(c.notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.object.place, b.object.place), cmp.Compare(a.Line, b.Line))
	})
	return Result{Text: text, Notes: c.notes, Warnings: parsed.Warnings}, nil
}

// converter holds what was read, and what was found out.
type converter struct {
	options Options
	table   table
	errs    Errors
	notes   []Note
	// noted has all notes, fieldNoted the fields that they are about.
	noted      map[Note]bool
	fieldNoted map[fieldOfObject]bool

	hasResources bool // there is a custom resource that holds configuration
	resources    []*object
	pools        []*pool
	l2           []*l2Advertisement
	bgp          []*bgpAdvertisement
	peers        []*peer
	profiles     []*element
	aliases      []entry
	legacy       []*legacy
	// used are the advertisements of which a pool has something.
	used map[*object]bool
}

// fieldOfObject is a field of one object.
type fieldOfObject struct {
	object *object
	field  string
}

// note records what became of a field.
func (c *converter) note(o *object, field string, outcome Outcome, key, format string, args ...any) {
	c.noteIn("", o, field, outcome, key, format, args...)
}

// noteIn records what became of a field where a pool uses it. It records the same only once.
func (c *converter) noteIn(pool string, o *object, field string, outcome Outcome, key, format string, args ...any) {
	n := Note{
		Source: o.source, Document: o.document, Line: o.line(field), Kind: o.kind, Namespace: o.namespace, Name: o.name,
		Field: field, Outcome: outcome, Key: key, Message: fmt.Sprintf(format, args...), object: o, pool: pool,
	}
	if c.noted[n] {
		return
	}
	c.noted[n] = true
	c.fieldNoted[fieldOfObject{o, field}] = true
	c.notes = append(c.notes, n)
}

func (c *converter) fail(o *object, field, format string, args ...any) {
	e := &Error{Source: o.source, Document: o.document, Line: o.line(field), Object: o.String(), Field: field, Msg: fmt.Sprintf(format, args...)}
	if !slices.ContainsFunc(c.errs, func(other error) bool { return other.Error() == e.Error() }) {
		c.errs = append(c.errs, e)
	}
}

// Error is one thing that cannot be converted.
type Error struct {
	Source         string
	Document, Line int
	// Object is the kind and the name of the object, or empty if there is none.
	Object string
	// Field is the path of the field, or empty.
	Field string
	Msg   string
}

// Error returns `pools.yaml:4: document 1: IPAddressPool a: spec.addresses: …`.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Source)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Document > 0 {
		fmt.Fprintf(&b, ": document %d", e.Document)
	}
	for _, part := range []string{e.Object, e.Field, e.Msg} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// Errors is everything that cannot be converted.
type Errors []error

// Error returns one line for each error.
func (errs Errors) Error() string {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// nameField is the field with the name of an object.
const nameField = "metadata.name"

// explain returns the parser's errors about the text, with the fields that the lines come
// from.
func (c *converter) explain(err error, origins []origin) error {
	list, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err
	}
	var explained Errors
	for _, e := range list {
		if e.Line < 1 || e.Line > len(origins) || origins[e.Line-1].object == nil {
			explained = append(explained, fmt.Errorf("the converted configuration is not valid: %w", e))
			continue
		}
		from := origins[e.Line-1]
		o := from.object
		line := o.line(from.field)
		if from.line > 0 && o.document > 0 {
			line = from.line
		}
		field, msg := from.field, e.Msg
		if row, _ := c.table.field(o.kind, field); e.Key != "" && row.Key != e.Key && (field != nameField || e.Key != "name") {
			msg = e.Key + ": " + msg
			if field == nameField { // the line of the name stands for the whole object
				field, line = "", o.line("")
			}
		}
		if field == "spec.bfdProfile" || field == "spec.communities" {
			msg += "; if another file has it, give that file, too"
		}
		explained = append(explained, &Error{Source: o.source, Document: o.document, Line: line, Object: o.String(), Field: field, Msg: msg})
	}
	return explained
}
