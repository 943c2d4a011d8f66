package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

var profileSection = section[BFDProfile]{name: "a BFD profile", keys: []key[BFDProfile]{
	text("name", value{required: true, doc: "unique among the profiles"}, func(to *BFDProfile, s string) { to.Name = s }),
	number("receive-interval", value{byDefault: "300", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.ReceiveInterval = time.Duration(i) * time.Millisecond }),
	number("transmit-interval", value{byDefault: "300", min: 10, max: 60000, doc: "milliseconds"}, func(to *BFDProfile, i uint64) { to.TransmitInterval = time.Duration(i) * time.Millisecond }),
	number("echo-interval", value{byDefault: "none", min: 10, max: 60000, doc: "milliseconds between echo packets; without effect, because echo packets are not sent"}, func(*BFDProfile, uint64) {}),
	number("detect-multiplier", value{byDefault: "3", min: 2, max: 255, doc: "the number of missing packets in a row that takes the session down"}, func(to *BFDProfile, i uint64) { to.DetectMultiplier = uint8(i) }),
	number("minimum-ttl", value{byDefault: "254", min: 1, max: 254, doc: "the lowest TTL that is accepted from a peer more than one hop away"}, func(to *BFDProfile, i uint64) { to.MinimumTTL = uint8(i) }),
	{"echo-mode", value{kind: aBoolean, byDefault: "false", doc: "`true` is refused: echo packets are not sent"}, func(p *parser, n *yaml.Node, _ *BFDProfile) {
		if on, ok := p.boolean(n); ok && on {
			p.errorf(deref(n), "echo mode is not supported: remove this key, and use receive-interval and transmit-interval to detect a dead peer sooner")
		}
	}},
	boolean("passive-mode", value{byDefault: "false", doc: "`true`: wait until the peer sends the first packet"}, func(to *BFDProfile, b bool) { to.PassiveMode = b }),
}}

func (p *parser) readProfile(n *yaml.Node, to *Config) {
	profile := BFDProfile{ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3, MinimumTTL: 254, Line: n.Line}
	found := readSection(p, n, profileSection, &profile)
	p.unique(p.profiles, "BFD profile", profile.Name, found.at("name", n), n)
	to.BFDProfiles = append(to.BFDProfiles, profile)
}
