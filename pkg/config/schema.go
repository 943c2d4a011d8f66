package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// reference returns the description of every key, as Markdown tables.
func reference() string {
	var b strings.Builder
	describeSection(&b, "At the top", topSection.describe())
	describeSection(&b, "`address-pools`", poolSection.describe())
	describeSection(&b, "`bgp-advertisements` of a pool", advertisementSection.describe())
	describeSection(&b, "`peers`", peerSection.describe())
	describeSection(&b, "`bfd-profiles`", profileSection.describe())
	describeSection(&b, "`node-selectors`, `namespace-selectors`, `service-selectors`", selectorSection.describe())
	describeSection(&b, "`match-expressions` of a selector", expressionSection.describe())
	return b.String()
}

func describeSection(b *strings.Builder, title string, d *sectionDoc) {
	fmt.Fprintf(b, "### %s\n\n| key | value | default | |\n|---|---|---|---|\n", title)
	for _, k := range d.keys {
		byDefault := cmp.Or(k.byDefault, "none")
		if k.required {
			byDefault = "required"
		}
		doc := k.doc
		if k.example != "" {
			doc += " Example: `" + k.example + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, k.describe(), byDefault, doc)
	}
	b.WriteString("\n")
}

func (v value) describe() string {
	switch v.kind {
	case aBoolean:
		return "true or false"
	case aNumber:
		return fmt.Sprintf("number, %d to %d", v.min, v.max)
	case aDuration:
		return "duration, like `90s` or `1m30s`"
	case listOfStrings:
		return "list of strings"
	case listOfSections:
		return "list of mappings"
	case mapOfStrings:
		return "mapping of strings"
	}
	if len(v.options) > 0 {
		return "`" + strings.Join(v.options, "` or `") + "`"
	}
	return "string"
}

// jsonSchema returns the grammar as a JSON Schema (draft 2020-12), for editors. It is
// a little stricter than Parse, which also accepts the booleans that only YAML 1.1 has,
// like yes and on. The schema has no rule that depends on more than one key.
func jsonSchema() []byte {
	schema := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Configuration of cloud-provider-baremetal",
	}
	maps.Copy(schema, objectSchema(topSection.describe()))
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // cannot happen: only strings, numbers, maps and lists
	}
	return append(text, '\n')
}

func objectSchema(d *sectionDoc) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, k := range d.keys {
		properties[k.name] = k.schema()
		if k.required {
			required = append(required, k.name)
		}
	}
	o := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (v value) schema() map[string]any {
	s := map[string]any{"description": v.doc}
	scalar := func(name string) { s["type"] = []string{name, "null"} }
	switch v.kind {
	case aBoolean:
		scalar("boolean")
	case aNumber:
		scalar("integer")
		s["minimum"], s["maximum"] = v.min, v.max
	case aDuration:
		scalar("string")
		s["pattern"] = `^$|^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`
	case listOfStrings:
		scalar("array")
		s["items"] = map[string]any{"type": []string{"string", "number"}}
	case listOfSections:
		scalar("array")
		s["items"] = objectSchema(v.inner)
	case mapOfStrings:
		scalar("object")
		s["additionalProperties"] = map[string]any{"type": []string{"string", "number", "boolean"}}
	default:
		s["type"] = []string{"string", "number", "null"}
		if len(v.options) > 0 {
			delete(s, "type")
			s["enum"] = v.options
		}
	}
	if t, ok := s["type"].([]string); ok && v.required {
		s["type"] = t[:len(t)-1] // without null
	}
	return s
}
