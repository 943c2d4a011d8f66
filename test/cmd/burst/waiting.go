package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const noPools = "address-pools:\n- {name: tiny, protocol: layer2, addresses: [10.64.0.0/32]}\n"

// measureWaiting creates Services for which there is no address. It prints how many write
// requests the cloud controller manager makes until each Service has an Event that says so,
// and how many in the minute after that.
func measureWaiting(ctx context.Context, env cluster.Env, services, clients int) error {
	c, ccm, err := start(ctx, env, noPools)
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := writes(ctx, c, ccm)
	if err != nil {
		return err
	}
	if err := create(ctx, c.Client, "waits", make([]life, services), clients); err != nil {
		return err
	}
	err = c.Wait(ctx, "Events for all Services", func() bool {
		list, err := c.Client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=AllocationFailed"})
		return err == nil && len(list.Items) == services
	})
	if err != nil {
		return err
	}
	told, err := writes(ctx, c, ccm)
	if err != nil {
		return err
	}
	time.Sleep(time.Minute) // the measurement
	after, err := writes(ctx, c, ccm)
	if err != nil {
		return err
	}
	fmt.Printf("%d Services without an address, %d CPUs, %s\n", services, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	fmt.Printf("write requests until all Services were refused: %s\n", difference(before, told))
	fmt.Printf("write requests in the minute after that: %s\n", difference(told, after))
	return nil
}

var methods = []string{"POST", "PUT", "PATCH", "DELETE"}

// writes returns how many write requests a cloud controller manager has made, by method.
func writes(ctx context.Context, c *cluster.Cluster, ccm *cluster.Process) (map[string]float64, error) {
	text, err := c.GetCCM(ctx, ccm, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	counts := map[string]float64{}
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(series, "rest_client_requests_total{") {
			continue
		}
		for _, method := range methods {
			if strings.Contains(series, `method="`+method+`"`) {
				var n float64
				if _, err := fmt.Sscan(value, &n); err != nil {
					return nil, fmt.Errorf("reading the metric %s: %w", series, err)
				}
				counts[method] += n
			}
		}
	}
	return counts, nil
}

// difference returns how many requests were made between two results of writes.
func difference(before, after map[string]float64) string {
	var texts []string
	for _, method := range methods {
		if n := after[method] - before[method]; n > 0 {
			texts = append(texts, fmt.Sprintf("%.0f %s", n, method))
		}
	}
	return strings.Join(texts, ", ")
}
