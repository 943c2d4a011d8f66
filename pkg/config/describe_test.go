package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func comments(text []byte, prefix string) []string {
	var found []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), prefix); ok {
			found = append(found, rest)
		}
	}
	return found
}

// describe returns a pool in one line, without the values that are the default.
func describe(p config.Pool) string {
	words := []string{p.Name}
	add := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	for _, r := range p.Ranges {
		add(true, "%s", r)
	}
	add(p.Protocol != config.Layer2, "%s", p.Protocol)
	add(!p.AutoAssign, "no-auto-assign")
	add(p.AvoidBuggyIPs, "avoid-buggy-ips")
	for _, ad := range p.Advertisements {
		add(true, "ad(/%d /%d %d %v)", ad.AggregationLength, ad.AggregationLengthV6, ad.LocalPref, ad.Communities)
		add(len(ad.LargeCommunities) > 0, "large=%v", ad.LargeCommunities)
		add(len(ad.Peers) > 0, "to=%v", ad.Peers)
	}
	add(p.Priority != 0, "priority=%d", p.Priority)
	add(len(p.Namespaces) > 0, "namespaces=%v", p.Namespaces)
	add(len(p.NamespaceSelectors) > 0, "namespace-selectors=%v", p.NamespaceSelectors)
	add(len(p.ServiceSelectors) > 0, "service-selectors=%v", p.ServiceSelectors)
	add(len(p.NodeSelectors) > 0, "node-selectors=%v", p.NodeSelectors)
	add(len(p.Interfaces) > 0, "interfaces=%v", p.Interfaces)
	add(p.ReuseDelay != 30*time.Second, "reuse-delay=%v", p.ReuseDelay)
	add(p.MaxPerNamespace != 0, "max-per-namespace=%d", p.MaxPerNamespace)
	add(p.ShareAcrossNamespaces, "share-across-namespaces")
	add(p.Spread, "spread")
	add(p.WithdrawWithoutEndpoints, "withdraw-without-endpoints")
	add(p.Requests != config.RequestsAny, "requests=%s", p.Requests)
	return strings.Join(words, " ")
}

func describePeer(p config.Peer) string {
	text := fmt.Sprintf("peer %s %d->%d %s:%d hold=%v keepalive=%v", p.Name, p.MyASN, p.ASN, p.Address, p.Port, p.HoldTime, p.KeepaliveTime)
	if p.SourceAddress.IsValid() {
		text += " source=" + p.SourceAddress.String()
	}
	if p.RouterID.IsValid() {
		text += " router-id=" + p.RouterID.String()
	}
	if p.Password+p.BFDProfile != "" || p.EBGPMultihop || len(p.NodeSelectors) > 0 {
		text += fmt.Sprintf(" password=%s bfd=%s multihop=%v nodes=%v", p.Password, p.BFDProfile, p.EBGPMultihop, p.NodeSelectors)
	}
	if p.PasswordSecret != "" || p.MultihopTTL != 0 || p.GracefulRestart != 0 {
		text += fmt.Sprintf(" secret=%s ttl=%d graceful=%v", p.PasswordSecret, p.MultihopTTL, p.GracefulRestart)
	}
	if p.TTLSecurity {
		text += " ttl-security"
	}
	return text
}

func describeProfile(b config.BFDProfile) string {
	return fmt.Sprintf("bfd %s %v %v x%d ttl=%d passive=%v", b.Name, b.ReceiveInterval, b.TransmitInterval, b.DetectMultiplier, b.MinimumTTL, b.PassiveMode)
}
