package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
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
		{[]string{"--log-format=xml"}, "--log-format=xml: write text or json"},
		{[]string{"--insecure-metrics", "--tls-cert-file=a", "--tls-private-key-file=b"}, "remove one of the two"},
	} {
		err := run(t.Context(), append([]string{"--node-name=node1", "--kubeconfig=/nowhere"}, test.flags...))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v", test.flags, err)
		}
	}
}

func TestLogHasTheFormatOfTheFlag(t *testing.T) {
	for format, want := range map[string]string{
		"text": `level=WARN msg="configuration refused" line=3`,
		"json": `"level":"WARN","msg":"configuration refused","line":3`,
	} {
		var out bytes.Buffer
		log, err := logger(&out, format, slog.LevelWarn)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("below the level")
		log.Warn("configuration refused", "line", 3)
		if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], want) {
			t.Errorf("%s: got\n%s\nwant one line with %s", format, out.String(), want)
		}
		if isJSON := json.Valid(out.Bytes()); isJSON != (format == "json") {
			t.Errorf("%s: the line is JSON: %v", format, isJSON)
		}
	}
}
