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
	b.WriteByte('\n')
}
