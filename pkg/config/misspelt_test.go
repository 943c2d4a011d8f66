package config

import (
	"slices"
	"strings"
	"testing"
)

func TestMisspeltPasswordIsHidden(t *testing.T) {
	const peer = "{peer-address: 192.0.2.1, peer-asn: 64500, my-asn: 64501, hold-time: 30s, "
	for entry, want := range map[string][]string{
		"password: hunter2":                {"hunter2"},
		"Password: hunter2":                {"hunter2"},
		"passwort: hunter2":                {"hunter2"},
		"pasword: hunter2":                 {"hunter2"},
		"md5: [hunter2]":                   nil,
		"tcp-md5: hunter2":                 {"hunter2"},
		"password:hunter2":                 {"hunter2"},
		"anything: hunter2":                nil, // hidden here, but not looked for elsewhere
		"passwd: &p hunter2, anything: *p": {"hunter2"},
		"passwd: {value: hunter2}":         nil,
	} {
		text := "peers:\n- " + peer + entry + "}\n"
		got, err := RedactRefused([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), "hunter2") || !strings.Contains(string(got), "hold-time: 30s") || !strings.Contains(string(got), "192.0.2.1") {
			t.Errorf("%s: %s", entry, got)
		}
		if passwords := Passwords([]byte(text)); !slices.Equal(passwords, want) {
			t.Errorf("%s: passwords %q", entry, passwords)
		}
	}
}

func TestOtherUnknownKeysStay(t *testing.T) {
	for _, text := range []string{
		"address-pools:\n- {name: a, protocoll: layer2, addresses: [192.0.2.0/24]}\n",
		"peers:\n- {peer-address: 192.0.2.1, node-selectors: [{matchLabels: {passwort: hunter2}}]}\n",
		"no YAML at all",
	} {
		if got, err := RedactRefused([]byte(text)); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

func FuzzRedactRefused(f *testing.F) {
	f.Add([]byte("peers: [{peer-asn: 1, pasword: secret, a: &x [*x]}]"))
	f.Add([]byte("peers: [{peer-asn: 1, pasword:secret}, {my-asn: &a 1, *a : *a}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		redacted, err := RedactRefused(text) // must not panic or hang
		if _, invalid := Parse(text); invalid != nil {
			return
		}
		if err != nil {
			t.Fatalf("a valid text cannot be redacted: %v", err)
		}
		if _, err := Parse(redacted); err != nil {
			t.Fatalf("the redacted text is refused: %v", err)
		}
	})
}
