package config_test

import (
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

func TestFormat(t *testing.T) {
	const text = "address-pools:\n- name: a\n  addresses: [10.0.0.9-10.0.0.1]\n\tkey: 1\x00\u00a0end\nlast"
	wrong := func(line, column int) *config.Error {
		return &config.Error{Line: line, Column: column, Pool: "a", In: "bgp-advertisements #1", Key: "addresses", Msg: "is wrong"}
	}
	long := strings.Repeat("0123456789", 100)
	for name, test := range map[string]struct {
		text   string
		offset config.Offset
		err    *config.Error
		want   string
	}{
		"line and column": {text, config.Offset{}, wrong(3, 15), "f.yaml:3:15: pool \"a\": bgp-advertisements #1: addresses: is wrong\n" +
			"      addresses: [10.0.0.9-10.0.0.1]\n" +
			"                  ^"},
		"in a manifest": {text, config.Offset{Line: 7, Column: 4}, wrong(2, 3), "f.yaml:9:7: pool \"a\": bgp-advertisements #1: addresses: is wrong (line 2 of the configuration)\n" +
			"    - name: a\n" +
			"      ^"},
		"no column": {text, config.Offset{}, &config.Error{Line: 1, Msg: "is wrong"}, "f.yaml:1: is wrong\n    address-pools:"},
		"no line":   {text, config.Offset{Line: 3}, &config.Error{Msg: "is wrong"}, "f.yaml: is wrong"},
		"tab and control characters": {text, config.Offset{}, &config.Error{Line: 4, Column: 2, Msg: "is wrong"}, "f.yaml:4:2: is wrong\n" +
			"     key: 1\ufffd\ufffdend\n" +
			"     ^"},
		"end of the last line":   {text, config.Offset{}, &config.Error{Line: 5, Column: 5, Msg: "is wrong"}, "f.yaml:5:5: is wrong\n    last\n        ^"},
		"after the line":         {text, config.Offset{}, &config.Error{Line: 5, Column: 9, Msg: "is wrong"}, "f.yaml:5:9: is wrong\n    last"},
		"after the text":         {text, config.Offset{}, &config.Error{Line: 9, Column: 9, Msg: "is wrong"}, "f.yaml:9:9: is wrong"},
		"empty line":             {"a:\n\nb: c\n", config.Offset{}, &config.Error{Line: 2, Column: 1, Msg: "is wrong"}, "f.yaml:2:1: is wrong"},
		"start of a long line":   {long, config.Offset{}, &config.Error{Line: 1, Column: 3, Msg: "is wrong"}, "f.yaml:1:3: is wrong\n    " + long[:120] + "…\n      ^"},
		"middle of a long line":  {long, config.Offset{}, &config.Error{Line: 1, Column: 501, Msg: "is wrong"}, "f.yaml:1:501: is wrong\n    …" + long[440:560] + "…\n" + strings.Repeat(" ", 65) + "^"},
		"end of a long line":     {long, config.Offset{}, &config.Error{Line: 1, Column: 1000, Msg: "is wrong"}, "f.yaml:1:1000: is wrong\n    …" + long[880:] + "\n" + strings.Repeat(" ", 124) + "^"},
		"long line, no column":   {long, config.Offset{}, &config.Error{Line: 1, Msg: "is wrong"}, "f.yaml:1: is wrong\n    " + long[:120] + "…"},
		"byte order mark":        {"\ufeffa: b\n", config.Offset{}, &config.Error{Line: 1, Column: 1, Msg: "is wrong"}, "f.yaml:1:1: is wrong\n    a: b\n    ^"},
		"line breaks of Windows": {"a: b\r\nc: d\r\n", config.Offset{}, &config.Error{Line: 2, Column: 4, Msg: "is wrong"}, "f.yaml:2:4: is wrong\n    c: d\n       ^"},
	} {
		if got := config.Format("f.yaml", []byte(test.text), test.offset, test.err); got != test.want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, test.want)
		}
	}
}

func TestErrorHasNoColumnInItsText(t *testing.T) {
	e := &config.Error{Line: 4, Column: 7, Pool: "default", In: "peer #1", Key: "addresses", Msg: "is wrong"}
	if got := e.Error(); got != `line 4: pool "default": peer #1: addresses: is wrong` {
		t.Error(got)
	}
}

func TestFormatHidesPasswords(t *testing.T) {
	for line, want := range map[string]string{
		"- {my-asn: 0, password: s3cret, peer-asn: 1}": "- {my-asn: 0, password: ******, peer-asn: 1}",
		"  password:   'two words'  # old":             "  password:   **** ******  # old",
		"  password-secret: name":                      "  password-secret: name",
	} {
		if got := config.Format("f", []byte(line), config.Offset{}, &config.Error{Line: 1, Msg: "x"}); got != "f:1: x\n    "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
