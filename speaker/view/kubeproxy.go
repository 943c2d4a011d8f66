package view

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// proxyInterval is how often kube-proxy is asked until it answers.
const proxyInterval = 200 * time.Millisecond

// KubeProxy finds out when kube-proxy runs on this node. Before that the node cannot send the
// traffic of a Service to a pod.
type KubeProxy struct {
	url      string
	changed  func()
	log      *slog.Logger
	answered atomic.Bool
}

// NewKubeProxy returns a KubeProxy. address is host:port of kube-proxy's health check
// (--healthz-bind-address); with "" nothing is asked. changed is called when it has answered;
// it must not block.
func NewKubeProxy(address string, changed func(), log *slog.Logger) *KubeProxy {
	k := &KubeProxy{changed: changed, log: log}
	if address != "" {
		k.url = "http://" + address + "/healthz"
	}
	return k
}

// Answered reports whether kube-proxy has answered that it is healthy.
func (k *KubeProxy) Answered() bool { return k.answered.Load() }

// Run asks until kube-proxy has answered once that it works, or ctx ends. It returns nil.
func (k *KubeProxy) Run(ctx context.Context) error {
	if k.url == "" {
		return nil
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(proxyInterval)
	defer tick.Stop()
	var healthySince time.Time
	for ctx.Err() == nil {
		health, err := k.ask(ctx, client)
		switch {
		case err != nil:
			healthySince = time.Time{}
			k.log.Debug("kube-proxy does not answer yet", "error", err)
		case healthySince.IsZero():
			healthySince = time.Now()
		}
		if err == nil && health.synced(time.Since(healthySince)) {
			k.answered.Store(true)
			k.changed()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// proxyHealth is what kube-proxy says (kubernetes/pkg/proxy/healthcheck, ProxyHealth).
type proxyHealth struct {
	// Healthy is missing in older versions, and in other programs that take the place of
	// kube-proxy.
	Healthy *bool
	// Status has an element for each IP family whose rules were written once.
	Status map[string]any
}

// synced reports whether kube-proxy has written its rules. It is healthy already while it
// starts. Older versions do not tell the difference, so they get time.
func (h proxyHealth) synced(healthyFor time.Duration) bool {
	if h.Healthy == nil {
		return healthyFor >= settleTime
	}
	return len(h.Status) > 0
}

// ask returns what kube-proxy says, and an error if it is not healthy.
func (k *KubeProxy) ask(ctx context.Context, client *http.Client) (proxyHealth, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return proxyHealth{}, fmt.Errorf("asking kube-proxy: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return proxyHealth{}, fmt.Errorf("asking kube-proxy: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return proxyHealth{}, fmt.Errorf("asking kube-proxy: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return proxyHealth{}, fmt.Errorf("asking kube-proxy: %s", response.Status)
	}
	var health proxyHealth
	_ = json.Unmarshal(text, &health) // another program may answer something else, or nothing
	return health, nil
}

// bootID returns the ID that the kernel chose when the machine started; "" if it is unknown.
// The kubelet writes it to the status of the Node.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
