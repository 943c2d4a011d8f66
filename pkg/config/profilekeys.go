package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

var profileSection = section[BFDProfile]{name: "a BFD profile", keys: []key[BFDProfile]{
	text("name", value{required: true, doc: "unique among the profiles"}, func(to *BFDProfile, s string) { to.Name = s }),
	number("receive-interval", value{byDefault: "300", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.ReceiveInterval = time.Duration(i) * time.Millisecond }),
	number("transmit-interval", value{byDefault: "300", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.TransmitInterval = time.Duration(i) * time.Millisecond }),
	number("echo-interval", value{byDefault: "none", min: 10, max: 60000, doc: "milliseconds between the packets of `echo-mode`, and so without effect"}, func(*BFDProfile, uint64) {}),
	number("detect-multiplier", value{byDefault: "3", min: 2, max: 255, doc: "how many packets may be missing"}, func(to *BFDProfile, i uint64) { to.DetectMultiplier = uint8(i) }),
	number("minimum-ttl", value{byDefault: "254", min: 1, max: 254, doc: "of packets from a peer more than one hop away"}, func(to *BFDProfile, i uint64) { to.MinimumTTL = uint8(i) }),
	{"echo-mode", value{kind: aBoolean, byDefault: "false", doc: "`true` is refused: echo packets are not sent"}, func(p *parser, n *yaml.Node, _ *BFDProfile) {
		if on, ok := p.boolean(n); ok && on {
			p.errorf(n.Line, "echo packets are not sent: remove this key; receive-interval and transmit-interval say how soon a dead peer is noticed")
		}
	}},
	boolean("passive-mode", value{byDefault: "false", doc: "wait for the peer to begin"}, func(to *BFDProfile, b bool) { to.PassiveMode = b }),
}}

func (p *parser) readProfile(n *yaml.Node, to *Config) {
	profile := BFDProfile{ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3, MinimumTTL: 254, Line: n.Line}
	lines := readSection(p, n, profileSection, &profile)
	p.unique(p.profiles, "BFD profile", profile.Name, lineOr(lines, "name", n.Line), n.Line)
	to.BFDProfiles = append(to.BFDProfiles, profile)
}
