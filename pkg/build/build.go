// Package build says from which version of the sources a program was built.
package build

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/component-base/version"
)

// Version returns the version of the program, such as "v0.2.0". The linker flags of the
// Makefile write it into the program.
func Version() string { return version.Get().GitVersion }

// revision returns the commit, or "unknown" if the linker flags name none.
func revision() string {
	commit := version.Get().GitCommit
	if commit == "" || strings.HasPrefix(commit, "$Format") { // a placeholder of component-base
		return "unknown"
	}
	return commit
}

// Collector returns the metric baremetal_build_info.
func Collector() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "baremetal", Name: "build_info",
		Help: "Always 1. The labels say from what this program was built.",
		ConstLabels: prometheus.Labels{
			"version": Version(), "revision": revision(), "goversion": runtime.Version(), "goarch": runtime.GOARCH,
		},
	}, func() float64 { return 1 })
}
