package config

import (
	"crypto/sha256"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// bfdUse is a peer that uses BFD: the line on which it begins, and its profile.
type bfdUse struct {
	line    int
	profile string
}

// checkAgainstOthers compares a peer with the peers before it, and gives it its name. It
// returns false if it reported an error.
func (p *parser) checkAgainstOthers(peer *Peer, at *yaml.Node, complain func(key, format string, args ...any)) bool {
	errorsBefore := p.errs.count
	identity := peer.identity()
	if line := p.peersByIdentity[identity]; line != 0 {
		p.key = ""
		p.errorf(at, "is the same as the peer on line %d", line)
	}
	use, usesBFD := p.bfdUses[peer.Address]
	if usesBFD && peer.BFDProfile != "" && peer.BFDProfile != use.profile {
		complain("bfd-profile", "the peer on line %d has the same address, and there is only one BFD session for an address: write the same profile as there, %q", use.line, use.profile)
	}
	if peer.Name == "" {
		p.nameByAddress(peer)
	} else if first := p.peers[peer.Name]; first != 0 {
		complain("name", "duplicate definition: a peer of this name begins on line %d", first)
	}
	if p.errs.count > errorsBefore {
		return false
	}
	p.peers[peer.Name] = peer.Line
	p.peersByIdentity[identity] = peer.Line
	if !usesBFD && peer.BFDProfile != "" {
		p.bfdUses[peer.Address] = bfdUse{peer.Line, peer.BFDProfile}
	}
	return true
}

// nameByAddress gives a peer without a name its address as its name, with #2, #3, … if
// that is taken. The search goes on where it ended for the previous peer of the address.
func (p *parser) nameByAddress(peer *Peer) {
	for n := max(p.lastName[peer.Address], 1); ; n++ {
		peer.Name = peer.Address.String()
		if n > 1 {
			peer.Name = fmt.Sprintf("%s#%d", peer.Address, n)
		}
		if p.peers[peer.Name] == 0 {
			p.lastName[peer.Address] = n
			return
		}
	}
}

// identity is the same for two peers that differ only in name and line. Two such peers are
// a mistake even under different names.
func (p *Peer) identity() identity {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %d %s %d %s %d %d %s %q %q %q %t %d %t %d", p.MyASN, p.ASN, p.Address, p.Port, p.SourceAddress, p.HoldTime, p.KeepaliveTime,
		p.RouterID, p.Password, p.PasswordSecret, p.BFDProfile, p.EBGPMultihop, p.MultihopTTL, p.TTLSecurity, p.GracefulRestart)
	for _, s := range p.NodeSelectors {
		fmt.Fprintf(sum, " %q", s.String())
	}
	return identity(sum.Sum(nil))
}
