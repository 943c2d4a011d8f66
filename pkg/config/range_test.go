package config

import "testing"

func TestRangeCounts(t *testing.T) {
	for _, test := range []struct {
		text        string
		size, buggy uint64
	}{
		{"10.0.0.7/32", 1, 0},
		{"10.0.0.0/32", 1, 1},
		{"10.0.0.0/24", 256, 2},
		{"10.0.0.0/16", 65536, 512},
		{"10.0.0.255-10.0.1.0", 2, 2},
		{"10.0.0.1-10.0.0.254", 254, 0},
		{"0.0.0.0/0", 1 << 32, 1 << 25},
		{"2001:db8::/120", 256, 0},
		{"2001:db8::/64", 1<<64 - 1, 0},
		{"::/0", 1<<64 - 1, 0},
	} {
		r, err := parseAnyRange(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != test.size || r.BuggyCount() != test.buggy {
			t.Errorf("%s: size %d buggy %d, want %d and %d", test.text, r.Size(), r.BuggyCount(), test.size, test.buggy)
		}
	}
}

func TestWidestPrefix(t *testing.T) {
	for text, want := range map[string]int{
		"10.0.0.0/24": 24, "10.0.0.0-10.0.0.130": 25, "10.0.0.1-10.0.0.2": 32, "10.0.0.1-10.0.0.3": 31, "10.0.0.200-10.0.1.255": 24,
		"0.0.0.0/0": 0, "255.255.255.255-255.255.255.255": 32, "2001:db8::/64": 64, "2001:db8::1-2001:db8::2": 128, "::/0": 0,
		"255.255.255.0-255.255.255.254": 25, "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe": 1, "2001:db8::-2001:db8:0:1::": 64,
		"10.0.0.1-10.0.0.7": 30, "10.0.0.1-10.0.0.8": 30,
	} {
		r, err := parseAnyRange(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.widestPrefix(); got != want {
			t.Errorf("%s: /%d, want /%d", text, got, want)
		}
	}
}
