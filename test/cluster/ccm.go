package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// StartCCM starts one more cloud controller manager. flags are added to the flags that
// every cloud controller manager gets.
func (c *Cluster) StartCCM(ctx context.Context, flags ...string) (*Process, error) {
	kubeconfig, err := c.serviceAccount(ctx, "baremetal-ccm")
	if err != nil {
		return nil, err
	}
	n := len(c.ccms) + 1
	port := 11000 + n
	args := append([]string{c.env.Binaries["baremetal-cloud-controller-manager"], "--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--authentication-skip-lookup=true", fmt.Sprint("--secure-port=", port), fmt.Sprint("--debug-address=127.0.0.1:", port+1000)}, flags...)
	p, err := c.start(fmt.Sprint("ccm", n), "", args...)
	if err == nil {
		p.Port = port
		c.ccms = append(c.ccms, p)
	}
	return p, err
}

// GetCCM gets a path from a cloud controller manager over HTTPS, as administrator.
func (c *Cluster) GetCCM(ctx context.Context, p *Process, path string) (string, error) {
	// It signs its certificate itself when it starts, so the certificate cannot be verified.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", p.Port, path), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	return body(&http.Client{Timeout: 5 * time.Second, Transport: transport}, request)
}

// CCMs returns the running cloud controller managers, in the order of their start.
func (c *Cluster) CCMs() []*Process {
	return slices.DeleteFunc(slices.Clone(c.ccms), func(p *Process) bool { return !p.Running() })
}

// Leader returns the cloud controller manager that holds the lease, or nil. The lease
// contains the host name of the leader, but all of them have the same host name. So
// Leader looks for a message in their logs that only a leader writes.
func (c *Cluster) Leader() *Process {
	for _, p := range c.CCMs() {
		if strings.Contains(p.Log(), "addresses in use adopted") {
			return p
		}
	}
	return nil
}
