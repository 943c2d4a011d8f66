package config

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// maxScalar is the length in bytes of the longest key and value. Aliases can repeat a
// value many times, so the parser must not spend time on a long one.
const maxScalar = 1024

// str returns the text of any scalar as written: pool 5 has the name "5". Null is the
// empty string. For anything else than a scalar it reports an error and returns false.
func (p *parser) str(n *yaml.Node) (text string, ok bool) {
	n = deref(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		p.errorf(n, "must be a string")
		return "", false
	case isNull(n):
		return "", true
	case len(n.Value) > maxScalar:
		p.errorf(n, "has %d bytes: write at most %d", len(n.Value), maxScalar)
		return "", false
	}
	p.noteGlued(n)
	return n.Value, true
}

// boolean accepts YAML 1.1's spellings, unquoted or tagged !!bool.
func (p *parser) boolean(n *yaml.Node) (b, ok bool) {
	n = deref(n)
	if isNull(n) {
		return false, false
	}
	plain := n.Style&quoted == 0
	if n.Style&yaml.TaggedStyle != 0 {
		plain = n.ShortTag() == "!!bool"
	}
	if n.Kind == yaml.ScalarNode && plain {
		switch n.Value {
		case "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON":
			return true, true
		case "false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF":
			return false, true
		}
	}
	p.errorf(n, "must be true or false, without quotes")
	return false, false
}

// number accepts YAML 1.1's whole numbers: 65_000, 0x10, 010 (which is 8). ok is false
// for null, which leaves the default.
func (p *parser) number(n *yaml.Node, low, high uint64) (i uint64, ok bool) {
	n = deref(n)
	if isNull(n) {
		return 0, false
	}
	if len(n.Value) > maxScalar {
		_, _ = p.str(n) // reports it
		return 0, false
	}
	plain := n.Kind == yaml.ScalarNode && n.Style&(quoted|yaml.TaggedStyle) == 0
	if plain && high == math.MaxUint32 && strings.Count(n.Value, ".") == 1 {
		p.errorf(n, "%s is not a whole number; a number in the form 1.10 must be written as 65536 times the first part plus the second", n.Value)
		return 0, false
	}
	i, err := strconv.ParseUint(strings.TrimPrefix(strings.ReplaceAll(n.Value, "_", ""), "+"), 0, 64)
	if !plain || err != nil || i < low || i > high {
		p.errorf(n, "must be a whole number from %d to %d, without quotes", low, high)
		return 0, false
	}
	return i, true
}

// duration accepts Go's form, like 90s or 1m30s. For the empty string and null, which
// leave the default, ok is false.
func (p *parser) duration(n *yaml.Node) (d time.Duration, ok bool) {
	text, ok := p.str(n)
	if !ok || text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		p.errorf(deref(n), "%q is not a duration: write a number with its unit, like 90s or 1m30s", text)
	case d < 0:
		p.errorf(deref(n), "%s is negative: write 0s or more", text)
	default:
		return d, true
	}
	return 0, false
}

// seconds reads a duration that BGP carries in whole seconds. It cuts off the fraction.
func (p *parser) seconds(n *yaml.Node) (d time.Duration, ok bool) {
	d, ok = p.duration(n)
	if ok && d > 0 && d < time.Second {
		p.errorf(deref(n), "%s is less than 1s: BGP counts in whole seconds", d)
		return 0, false
	}
	return d.Truncate(time.Second), ok
}

// address reads an IP address. For the empty string and null, which mean no address,
// ok is false.
func (p *parser) address(n *yaml.Node) (addr netip.Addr, ok bool) {
	text, ok := p.str(n)
	if !ok || text == "" {
		return netip.Addr{}, false
	}
	addr, err := parseAddr(text)
	if err != nil {
		p.errorf(deref(n), "%v", err)
		return netip.Addr{}, false
	}
	return addr, true
}
