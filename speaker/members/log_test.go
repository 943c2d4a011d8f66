package members

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
)

func TestLinesOfOneKindAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		rejected := 0
		w := newLogWriter(log.logger(), func(netip.Addr) { rejected++ })
		write := func(text string) {
			if _, err := fmt.Fprintf(w, "2026/01/02 03:04:05 %s\n", text); err != nil {
				t.Fatal(err)
			}
		}
		flood := func() {
			for i := range 1000 {
				write(fmt.Sprintf("[ERR] memberlist: Failed to send ack: no route %d", i))
				write(fmt.Sprintf("[ERR] memberlist: Conflicting address for node%d. Mine: x", i))
				write(fmt.Sprintf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=192.0.2.%d", i))
			}
		}
		flood()
		write("[ERR] memberlist: Failed to decode ping: other kind")
		if log.count("decode ping") != 1 {
			t.Error("a line of another kind is not logged")
		}
		for i := range 1000 {
			write(fmt.Sprintf("[WARN] memberlist: kind%d", i)) // a kind of its own each time
		}
		for text, want := range map[string]int{"send ack": linesOfKind, "Conflicting": linesOfKind, "with another key": 1} {
			if got := log.count(text); got != want {
				t.Errorf("%q is logged %d times in a minute, want %d", text, got, want)
			}
		}
		if got := log.count("memberlist: kind"); got > loglimit.MaxKinds+linesOfKind {
			t.Errorf("lines of different kinds are logged %d times in a minute", got)
		}
		if rejected != 1000 {
			t.Errorf("%d messages with another key are counted", rejected)
		}
		time.Sleep(time.Minute)
		flood()
		if got := log.count("send ack"); got != 2*linesOfKind {
			t.Errorf("after the second minute it is logged %d times", got)
		}
		if got := log.count(fmt.Sprint("more=", 1000-linesOfKind)); got != 2 { // one for each of the kinds
			t.Errorf("%d lines say how many are not in the log", got)
		}
		if got := log.count("more=999"); got != 1 {
			t.Errorf("%d lines say how many messages with another key are not in the log", got)
		}
	})
}

func TestKindOfALineHasNoNames(t *testing.T) {
	for text, want := range map[string]string{
		"memberlist: Failed to send ack: timeout from=192.0.2.1":  "Failed to send ack:",
		"memberlist: Conflicting address for node1. Mine: x":      "Conflicting address",
		"memberlist: Push/Pull with node1 failed: x":              "Push/Pull with",
		"memberlist: Refuting a suspect message (from: node1)":    "Refuting a",
		"memberlist: ignoring alive message for 'node1': because": "ignoring alive",
		"one": "one", "": "",
	} {
		if got := kindOf(text); got != want || strings.Contains(got, "node1") {
			t.Errorf("%q is of kind %q, want %q", text, got, want)
		}
	}
}

func TestLineAboutAnotherKeyNamesItsSender(t *testing.T) {
	for line, want := range map[string]netip.Addr{
		"2026/03/01 12:00:00 [ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=192.0.2.7:7946": netip.MustParseAddr("192.0.2.7"),
		"2026/03/01 12:00:00 [ERR] memberlist: failed to receive: No installed keys could decrypt the message from=[2001:db8::7]:4711": netip.MustParseAddr("2001:db8::7"),
		"2026/03/01 12:00:00 [ERR] memberlist: Decrypt packet failed: Payload is too small to decrypt: 3 from=<unknown address>":       {},
		"2026/03/01 12:00:00 [ERR] memberlist: Decrypt packet failed":                                                                  {},
	} {
		var from []netip.Addr
		w := newLogWriter((&logBuffer{}).logger(), func(addr netip.Addr) { from = append(from, addr) })
		if _, err := w.Write([]byte(line)); err != nil || len(from) != 1 || from[0] != want {
			t.Errorf("%s: %v, %v", line, from, err)
		}
	}
}
