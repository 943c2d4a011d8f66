package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RedactRefused is Redact for a text that may have errors. It also hides what stands at the unknown keys
// of peers, because an unknown key can be "password" with a typo.
func RedactRefused(text []byte) ([]byte, error) {
	documents, broken := Documents(text)
	if broken != nil || !slices.ContainsFunc(documents, func(d *yaml.Node) bool { return len(unknownOf(d)) > 0 }) {
		return Redact(text)
	}
	return encode(documents, func(n *yaml.Node) {
		redact(n)
		for _, u := range unknownOf(n) {
			if before, _, glued := strings.Cut(u.key.Value, ":"); glued {
				u.key.Value = before + ":" + Redacted
			}
			hide(u.value)
		}
	})
}

// unknownEntry is a key that a mapping should not have, and its value.
type unknownEntry struct{ key, value *yaml.Node }

// unknownOf returns the entries of peers with keys that a peer does not have.
func unknownOf(n *yaml.Node) (found []unknownEntry) {
	peer := n.Kind == yaml.MappingNode && isPeer(n)
	for i, child := range n.Content {
		if peer && i%2 == 1 && !peerSection.has(n.Content[i-1].Value) && n.Content[i-1].Value != "<<" {
			found = append(found, unknownEntry{n.Content[i-1], child})
		}
		found = append(found, unknownOf(child)...)
	}
	return found
}

// isPeer reports whether a mapping has keys that only a peer has.
func isPeer(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch name := strings.ToLower(n.Content[i].Value); {
		case strings.HasPrefix(name, "peer-"), strings.HasPrefix(name, "my-as"):
			return true
		}
	}
	return false
}

// misspeltPasswords returns what stands at the unknown keys of peers that look like "password".
func misspeltPasswords(n *yaml.Node) (passwords []string) {
	for _, u := range unknownOf(n) {
		name, glued, isGlued := strings.Cut(u.key.Value, ":")
		name = strings.ToLower(name)
		if !slices.ContainsFunc([]string{"pas", "pw", "secret", "md5", "auth", "key"}, func(part string) bool { return strings.Contains(name, part) }) {
			continue
		}
		value := u.value
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch {
		case isGlued:
			passwords = append(passwords, glued)
		case value.Kind == yaml.ScalarNode && value.Value != "":
			passwords = append(passwords, value.Value)
		}
	}
	return passwords
}
