package quote_test

import (
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

func TestShortCutsLongTexts(t *testing.T) {
	for text, want := range map[string]string{
		"":                            `""`,
		"a \"b\"\n":                   `"a \"b\"\n"`,
		strings.Repeat("x", 100):      `"` + strings.Repeat("x", 100) + `"`,
		strings.Repeat("x", 101):      `"` + strings.Repeat("x", 100) + `" and so on, 101 bytes`,
		strings.Repeat("ä", 200):      `"` + strings.Repeat("ä", 50) + `" and so on, 400 bytes`,
		"x" + strings.Repeat("ä", 60): `"x` + strings.Repeat("ä", 49) + `" and so on, 121 bytes`,
	} {
		if got := quote.Short(text); got != want {
			t.Errorf("%.20q: got %s, want %s", text, got, want)
		}
	}
}
