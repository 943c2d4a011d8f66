package main

import (
	"strings"
	"testing"
)

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--tls-cert-file=a"}, "--tls-cert-file and --tls-private-key-file: set both or none"},
		{[]string{"--tls-private-key-file=a"}, "--tls-cert-file and --tls-private-key-file: set both or none"},
		{[]string{"--spread=on"}, "--spread=on: write auto or off"},
		{[]string{"--insecure-metrics", "--tls-cert-file=a", "--tls-private-key-file=b"}, "remove one of the two"},
	} {
		err := run(t.Context(), append([]string{"--node-name=node1", "--kubeconfig=/nowhere"}, test.flags...))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v", test.flags, err)
		}
	}
}
