package cluster

import (
	"context"
	_ "embed"
	"os"
)

// dnsIPv4 is the address of the cluster's DNS Service.
const dnsIPv4 = "10.96.0.10"

//go:embed dns.yaml
var dnsManifest []byte

// startDNS deploys CoreDNS and waits until it is ready.
func (c *Cluster) startDNS(ctx context.Context) error {
	file := c.path("dns.yaml")
	if err := os.WriteFile(file, dnsManifest, 0o644); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=2m")
	return err
}
