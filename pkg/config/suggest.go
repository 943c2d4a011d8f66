package config

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// maxTypo is the length in bytes of the longest word that is compared with the right ones.
const maxTypo = 64

// closest returns the name that the operator probably meant, or an empty string: the one
// that differs only in case, dashes and underscores, like addressPools, or by at most two
// typing errors. A short name must be closer.
func closest(word string, names []string) string {
	if len(word) > maxTypo {
		return ""
	}
	word = normalize(word)
	best, limit := "", 3
	for _, name := range names {
		normal := normalize(name)
		if normal == word {
			return name
		}
		if d := distance(word, normal); d < limit && 2*d < len(normal) {
			best, limit = name, d
		}
	}
	return best
}

var separators = strings.NewReplacer("-", "", "_", "")

func normalize(name string) string { return strings.ToLower(separators.Replace(name)) }

// distance returns the number of typing errors between two words: a character more, less
// or wrong, or two neighbours in the wrong order ("optimal string alignment").
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// gluedKey finds a known key whose value follows the colon without a space, like
// protocol:layer2. YAML takes that for one word. written is how it should be written.
func gluedKey(text string, known map[string]bool) (written string, ok bool) {
	for word := range strings.FieldsSeq(text) {
		name, rest, found := strings.Cut(word, ":")
		if found && rest != "" && rest[0] < utf8.RuneSelf && known[name] {
			return name + ": " + rest, true
		}
	}
	return "", false
}

// gluedHint is the end of an error about a value that should be a mapping.
func (p *parser) gluedHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || len(n.Value) > maxScalar {
		return ""
	}
	if written, ok := gluedKey(n.Value, p.known); ok {
		return ": there is no space after the colon in " + quote.Short(n.Value) + ": write " + quote.Short(written)
	}
	return ""
}

// hint is about a word in a value that looks like a key without a space after its colon. It
// explains nothing if the word stands in the line in which the value begins.
type hint struct {
	word string
	err  *Error
}

// maxHints is how many hints the parser collects.
const maxHints = 5

// noteGlued notes a plain value like "a protocol:layer2". YAML joins the line of a key
// without a space after its colon with the line before it, if it is indented more. Alone it
// is no error, because the value may be meant so.
func (p *parser) noteGlued(n *yaml.Node) {
	if n.Style != 0 || len(p.hints) == maxHints || !strings.Contains(n.Value, " ") || p.key == "password" {
		return
	}
	if written, ok := gluedKey(n.Value, p.known); ok {
		p.hints = append(p.hints, hint{strings.Replace(written, ": ", ":", 1), p.errorAt(n, "YAML reads the value "+quote.Short(n.Value)+
			", because there is no space after a colon: write "+quote.Short(written))})
	}
}
