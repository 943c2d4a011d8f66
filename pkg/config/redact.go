package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Redacted is what Redact writes in place of a password.
const Redacted = "redacted"

// passwordKey is the key whose value is a password.
const passwordKey = "password"

// Redact returns a configuration without its passwords. It also drops comments that mention one.
// A text without the word "password" stays as it is. Otherwise the layout of the text changes.
// The error says why the text could not be read; then there is no result.
func Redact(text []byte) ([]byte, error) {
	if !bytes.Contains(bytes.ToLower(text), []byte(passwordKey)) {
		return text, nil
	}
	documents, broken := Documents(text)
	if broken != nil {
		return nil, fmt.Errorf("removing the passwords: %w", broken)
	}
	return encode(documents, redact)
}

// encode writes documents after a change of each.
func encode(documents []*yaml.Node, change func(*yaml.Node)) ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	for _, d := range documents {
		change(d)
		if err := encoder.Encode(d); err != nil {
			return nil, fmt.Errorf("removing the passwords: %w", err)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("removing the passwords: %w", err)
	}
	return b.Bytes(), nil
}

func redact(n *yaml.Node) {
	for _, comment := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		if strings.Contains(strings.ToLower(*comment), passwordKey) {
			*comment = ""
		}
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == passwordKey {
			hide(child)
		}
		redact(child)
	}
}

// hide replaces a value, and all that it consists of. The value of an alias stands elsewhere.
func hide(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Value != "" {
			n.Value, n.Tag, n.Style = Redacted, "!!str", 0
		}
	case yaml.AliasNode:
		if n.Alias.Kind == yaml.ScalarNode { // another kind is no password, and could be a cycle
			hide(n.Alias)
		}
	default:
		for _, child := range n.Content {
			hide(child)
		}
	}
}

// Passwords returns the passwords in a configuration, so that they can be looked for in other
// texts. It returns those of a text that has errors, too, as long as it is YAML, also if their key has a
// typo.
func Passwords(text []byte) (passwords []string) {
	documents, _ := Documents(text) // those before the error
	for _, d := range documents {
		collect(d, &passwords)
		for _, p := range misspeltPasswords(d) {
			if !slices.Contains(passwords, p) {
				passwords = append(passwords, p)
			}
		}
	}
	return passwords
}

func collect(n *yaml.Node, passwords *[]string) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == passwordKey {
			value := child
			if child.Kind == yaml.AliasNode {
				value = child.Alias
			}
			if value.Kind == yaml.ScalarNode && value.Value != "" && !slices.Contains(*passwords, value.Value) {
				*passwords = append(*passwords, value.Value)
			}
		}
		collect(child, passwords)
	}
}
