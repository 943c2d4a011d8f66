package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// LoopCount counts the IPv4 frames to addresses that nodes have forwarded more often than spreading
// does. The clients on the segment send with a TTL of 64. The owner forwards a frame once, which
// leaves 63. A segment of a connection that its node does not know is handed on with a TTL of
// 13 at most and of 4 at least: docs/concepts/spread.md.
type LoopCount struct{ cluster *Cluster }

// Loop is frames of one kind that a LoopCount has counted.
type Loop struct {
	From        string // the node that sent them last, or its MAC address
	TTL, Frames int
}

// CountLoops starts to count the frames to these addresses. Only one LoopCount can run at a time.
func (c *Cluster) CountLoops(vips []string) (*LoopCount, error) {
	return &LoopCount{c}, run("nft", fmt.Sprintf(`table bridge loops {
	set looped { typeof ether saddr . ip ttl; flags dynamic; size 4096; }
	chain forward {
		type filter hook forward priority 10
		ip daddr { %s } ip ttl != { 4-13, 63, 64 } update @looped { ether saddr . ip ttl counter }
	}
}`, strings.Join(vips, ", ")))
}

// Stop stops counting, and returns what was counted.
func (l *LoopCount) Stop() ([]Loop, error) {
	out, err := exec.Command("nft", "--json", "list", "set", "bridge", "loops", "looped").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the counted loops: %w", err)
	}
	loops, err := parseLoops(out)
	if err != nil {
		return nil, err
	}
	for i := range loops {
		for _, n := range l.cluster.nodes {
			if n.MAC == loops[i].From {
				loops[i].From = n.Name
			}
		}
	}
	return loops, run("nft", "delete table bridge loops")
}

// parseLoops reads a set of MAC addresses and TTLs with counters, as nft prints it.
func parseLoops(text []byte) (loops []Loop, err error) {
	elements, err := parseSet[struct{ Concat [2]json.RawMessage }](text)
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		l := Loop{Frames: e.Counter.Packets}
		if err := errors.Join(json.Unmarshal(e.Val.Concat[0], &l.From), json.Unmarshal(e.Val.Concat[1], &l.TTL)); err != nil {
			return nil, fmt.Errorf("reading the counted loops: %w", err)
		}
		loops = append(loops, l)
	}
	return loops, nil
}

// parseCounter reads the packets of a counter, as nft prints it.
func parseCounter(text []byte) (n int, err error) {
	var list struct {
		Nftables []struct{ Counter struct{ Packets int } }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("reading a counter: %w", err)
	}
	for _, object := range list.Nftables {
		n += object.Counter.Packets
	}
	return n, nil
}

// Tables returns the names of the nftables tables in the node's network namespace.
func (n *Node) Tables() (names []string, err error) {
	out, err := exec.Command("nsenter", "--net=/run/netns/"+n.Name, "nft", "list", "tables").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tables of %s: %w", n.Name, err)
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			names = append(names, fields[2])
		}
	}
	return names, nil
}
