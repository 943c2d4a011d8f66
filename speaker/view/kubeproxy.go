package view

import (
	"context"
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

// Run asks until kube-proxy has answered once, or ctx ends. It returns nil.
func (k *KubeProxy) Run(ctx context.Context) error {
	if k.url == "" {
		return nil
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(proxyInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := k.ask(ctx, client)
		if err == nil {
			k.answered.Store(true)
			k.changed()
			return nil
		}
		k.log.Debug("kube-proxy does not answer yet", "error", err)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (k *KubeProxy) ask(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return fmt.Errorf("asking kube-proxy: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking kube-proxy: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)) // the status is all that counts
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking kube-proxy: %s", response.Status)
	}
	return nil
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
