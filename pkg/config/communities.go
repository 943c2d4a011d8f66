package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// community is a Community or a LargeCommunity.
type community struct {
	isLarge bool
	plain   Community
	large   LargeCommunity
}

// wellKnown are the communities that every configuration can name (IANA, "BGP Well-known
// Communities"). The same name under bgp-communities overrides one of them.
var wellKnown = map[string]community{
	"graceful-shutdown":   {plain: 0xffff0000}, // RFC 8326
	"accept-own":          {plain: 0xffff0001}, // RFC 7611
	"llgr-stale":          {plain: 0xffff0006}, // RFC 9494
	"no-llgr":             {plain: 0xffff0007}, // RFC 9494
	"blackhole":           {plain: 0xffff029a}, // RFC 7999
	"no-export":           {plain: 0xffffff01}, // RFC 1997
	"no-advertise":        {plain: 0xffffff02}, // RFC 1997
	"no-export-subconfed": {plain: 0xffffff03}, // RFC 1997
	"no-peer":             {plain: 0xffffff04}, // RFC 3765
}

func (p *parser) readCommunities(n *yaml.Node) {
	for _, e := range p.mapping(n, "the value").all {
		if p.stopped {
			return
		}
		text, ok := p.str(e.value)
		if !ok {
			continue
		}
		community, err := parseCommunity(text)
		if err != nil {
			p.errorf(e.at, "%q: %v", e.key, err)
			continue
		}
		p.communities[e.key] = community
	}
}

// community returns the community of a name or a number.
func (p *parser) community(text string) (community, bool) {
	if c, ok := p.communities[text]; ok {
		return c, true
	}
	if c, ok := wellKnown[text]; ok {
		return c, true
	}
	c, err := parseCommunity(text)
	return c, err == nil
}

// parseCommunity reads 64512:100, and 64512:1:2 or large:64512:1:2.
func parseCommunity(text string) (community, error) {
	parts := strings.Split(strings.TrimPrefix(text, "large:"), ":")
	isLarge := len(parts) == 3
	bits := 16
	if isLarge {
		bits = 32
	}
	var numbers [3]uint32
	ok := isLarge || len(parts) == 2 && !strings.HasPrefix(text, "large:")
	for i := 0; ok && i < len(parts); i++ {
		n, err := strconv.ParseUint(parts[i], 10, bits)
		numbers[i], ok = uint32(n), err == nil
	}
	switch {
	case !ok:
		return community{}, fmt.Errorf("%q is not a community: write two numbers up to 65535, like 64512:100, or for a large one three, like 64512:1:2", text)
	case isLarge:
		return community{isLarge: true, large: LargeCommunity(numbers)}, nil
	}
	return community{plain: Community(numbers[0]<<16 | numbers[1])}, nil
}
