package plan

import (
	"cmp"
	"fmt"
	"strings"
)

// Describe returns the plan as text for people, one line for each VIP.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n", p.Node)
	if p.Fenced != "" {
		fmt.Fprintf(&b, "fenced: %s\n", p.Fenced)
	}
	if p.Suppressed != "" {
		fmt.Fprintf(&b, "suppressed: %s\n", p.Suppressed)
	}
	if p.CannotSpread != "" {
		fmt.Fprintf(&b, "cannot spread: %s\n", p.CannotSpread)
	}
	for _, d := range p.Decisions {
		d.describe(&b)
	}
	return b.String()
}

func (d Decision) describe(b *strings.Builder) {
	fmt.Fprintf(b, "%s services=%s pool=%s", d.VIP, strings.Join(d.Services, ","), cmp.Or(d.Pool, "none"))
	switch d.Reason {
	case NotLayer2:
	case NodeAddress, Unpublished:
		fmt.Fprintf(b, " reason=%s", d.Reason)
	default:
		fmt.Fprintf(b, " owner=%s candidates=%s reason=%s", cmp.Or(d.Owner, "none"), cmp.Or(strings.Join(d.Candidates, ","), "none"), d.Reason)
	}
	if d.BGP != "" {
		fmt.Fprintf(b, " bgp=%s", d.BGP)
	}
	if d.MED > 0 {
		fmt.Fprintf(b, " med=%d", d.MED)
	}
	if len(d.Links) > 0 {
		fmt.Fprintf(b, " links=%s", strings.Join(d.Links, ","))
	}
	if d.Foreign != "" {
		fmt.Fprintf(b, " foreign=%s", d.Foreign)
	}
	d.describeSpread(b)
	b.WriteByte('\n')
}

// describeSpread writes how many slots each carrier has, or why the VIP is not spread.
func (d Decision) describeSpread(b *strings.Builder) {
	switch d.Spread {
	case "":
	case Spreading:
		b.WriteString(" spread=")
		for i, c := range d.Carriers {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, "%s:%d", c.Node, c.Slots)
		}
	default:
		fmt.Fprintf(b, " spread=%s", d.Spread)
	}
}
