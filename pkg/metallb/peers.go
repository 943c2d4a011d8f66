package metallb

import (
	"fmt"
	"time"
)

// peer is a BGPPeer.
type peer struct {
	*object
	out     *element
	nodes   []selector
	address string
	// external is true for a router of another AS, multihop if it may be some hops away.
	external, multihop bool
}

// converted reports whether the text has the peer. If not, it is there as a comment.
func (p *peer) converted() bool { return !p.out.disabled }

// frrRestartTime is how long a router keeps the routes if FRR does not say otherwise.
const frrRestartTime = "120s"

func (c *converter) readPeer(o *object) {
	f := c.spec(o)
	p := &peer{object: o, out: &element{from: origin{object: o}}}
	p.out.add("name", origin{o, nameField, o.line(nameField)}, scalar(o.name))
	p.readASNs(f)
	p.address = f.copyText(p.out, "peerAddress")
	if _, ok := f.text("interface"); ok {
		f.outcome("interface", NotCarried)
		p.out.disabled = true
	}
	f.copyNumber(p.out, "peerPort", 179)
	if source, ok := f.text("sourceAddress"); ok && source != "" {
		f.outcome("sourceAddress", Changed)
		p.out.add("source-address", f.origin("sourceAddress"), scalar(source))
	} else if ok {
		f.carry("sourceAddress")
	}
	p.readTimers(f)
	f.copyText(p.out, "routerID")
	p.readPassword(f)
	f.copyText(p.out, "bfdProfile")
	f.copyBoolean(p.out, "ebgpMultiHop", false)
	p.multihop, _ = f.boolean("ebgpMultiHop")
	if on, ok := f.boolean("enableGracefulRestart"); ok && on {
		f.outcome("enableGracefulRestart", Changed)
		p.out.add("graceful-restart", f.origin("enableGracefulRestart"), scalar(frrRestartTime))
	} else if ok {
		f.carry("enableGracefulRestart")
	}
	p.nodes = f.copySelectors(p.out, "nodeSelectors")
	if name, ok := f.text("vrf"); ok && name != "" {
		f.outcome("vrf", NotCarried)
		p.out.disabled = true
	} else if ok {
		f.carry("vrf")
	}
	if _, ok := f.text("connectTime"); ok {
		f.outcome("connectTime", NotCarried)
	}
	c.peers = append(c.peers, p)
}

func (p *peer) readASNs(f fields) {
	mine, _ := f.number("myASN")
	if local, ok := f.number("localASN"); ok && local != 0 {
		f.c.note(f.o, f.at("myASN"), Changed, "my-asn", "localASN is used instead, because the router sees that one")
		f.outcome("localASN", Changed)
		p.out.add("my-asn", f.origin("localASN"), integer(local))
	} else {
		f.carryUnlessNoted("myASN", "localASN")
		p.out.add("my-asn", f.origin("myASN"), integer(mine))
	}
	mode, dynamic := f.text("dynamicASN")
	switch {
	case !dynamic || mode == "":
		theirs, _ := f.number("peerASN")
		f.carryUnlessNoted("peerASN", "dynamicASN")
		p.out.add("peer-asn", f.origin("peerASN"), integer(theirs))
		p.external = theirs != mine
	case mode == "internal":
		f.c.note(f.o, f.at("dynamicASN"), Changed, "peer-asn", "an internal router has the AS number of myASN, %d", mine)
		p.out.add("peer-asn", f.origin("dynamicASN"), integer(mine))
	default:
		f.c.note(f.o, f.at("dynamicASN"), NotCarried, "peer-asn", "the AS number of the router must be known: write it in peer-asn")
		p.out.add("peer-asn", f.origin("dynamicASN"), scalar("AS number of the router"))
		p.out.disabled = true
	}
	if n, ok := f.number("peerASN"); ok && dynamic && n == 0 {
		f.carry("peerASN")
	} else if ok && dynamic && mode != "" {
		f.c.fail(f.o, f.at("peerASN"), "and dynamicASN exclude each other: remove one of them")
	}
}

// readTimers reads the hold time and the time between keepalives. MetalLB derives one from
// the other.
func (p *peer) readTimers(f fields) {
	hold, hasHold := p.duration(f, "holdTime")
	keepalive, hasKeepalive := p.duration(f, "keepaliveTime")
	switch {
	case hasHold && hold == 0:
		f.c.note(f.o, f.at("holdTime"), Changed, "hold-time", "a session without a hold time is not supported: the session has the default, 90s")
		if hasKeepalive {
			f.c.note(f.o, f.at("keepaliveTime"), Changed, "keepalive-time", "holdTime is 0s: the session has the default, a third of 90s")
		}
		return
	case hasHold:
		f.carryUnlessNoted("holdTime")
		p.out.add("hold-time", f.origin("holdTime"), scalar(hold.String()))
	case hasKeepalive && keepalive > 0:
		f.c.note(f.o, f.at("keepaliveTime"), Changed, "hold-time", "without holdTime, MetalLB uses three times keepaliveTime: hold-time is %s", 3*keepalive)
		p.out.add("hold-time", f.origin("keepaliveTime"), scalar((3 * keepalive).String()))
	}
	switch {
	case hasKeepalive && keepalive == 0:
		f.c.note(f.o, f.at("keepaliveTime"), Changed, "keepalive-time", "a session without keepalives is not supported: keepalives are sent after a third of the hold time")
	case hasKeepalive:
		f.carryUnlessNoted("keepaliveTime")
		p.out.add("keepalive-time", f.origin("keepaliveTime"), scalar(keepalive.String()))
	}
}

// duration reads a time in whole seconds, as MetalLB does.
func (p *peer) duration(f fields, name string) (time.Duration, bool) {
	written, ok := f.text(name)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(written)
	if err != nil {
		f.c.fail(f.o, f.at(name), "%q is not a duration like 90s", written)
		return 0, false
	}
	if whole := d.Truncate(time.Second); whole != d {
		f.c.note(f.o, f.at(name), Changed, f.key(name), "whole seconds are necessary: %s is %s", d, whole)
		return whole, true
	}
	return d, true
}

// maxPassword is the length of the longest password in bytes, as pkg/config has it.
const maxPassword = 80

func (p *peer) readPassword(f fields) {
	if password, ok := f.text("password"); ok && len(password) > maxPassword {
		f.c.note(f.o, f.at("password"), NotCarried, "password", "TCP MD5 allows %d bytes, and the password has %d: choose another one, also on the router", maxPassword, len(password))
	} else if ok {
		f.copyText(p.out, "password")
	}
	secret := f.inner("passwordSecret")
	name, hasName := secret.text("name")
	if hasName && name != "" {
		p.out.add("password-secret", secret.origin("name"), scalar(name))
		secret.outcome("name", Changed)
	} else if hasName {
		secret.carry("name")
	}
	if namespace, ok := secret.text("namespace"); ok && namespace != "" {
		secret.outcome("namespace", Changed)
	} else if ok {
		secret.carry("namespace")
	}
}

// checkFamilies notes what the sessions do about the family that they do not run over. It
// needs all pools.
func (c *converter) checkFamilies(p *peer) {
	f := c.spec(p.object)
	session := family(p.address)
	other := false // the peer gets routes of the other family, which it did not get before
	for _, pool := range c.pools {
		if len(c.bgpFor(pool)) > 0 && (session == 4 && pool.v6 || session == 6 && pool.v4) {
			other = true
		}
	}
	both, hasBoth := f.boolean("dualStackAddressFamily")
	separate, hasSeparate := f.boolean("disableMP")
	advice := fmt.Sprintf("every session offers IPv4 and IPv6, so this router also gets the routes of IPv%d, if it accepts them: limit the families on the router, or name the peers in bgp-advertisements", 10-session)
	switch {
	case !both && other:
		c.note(p.object, f.at("dualStackAddressFamily"), Changed, "", "%s", advice)
	case hasBoth:
		f.carry("dualStackAddressFamily")
	}
	switch {
	case hasSeparate && separate && other:
		c.note(p.object, f.at("disableMP"), NotCarried, "", "%s", advice)
	case hasSeparate:
		f.carry("disableMP")
	}
}
