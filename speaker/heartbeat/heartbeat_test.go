package heartbeat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func example() message {
	return message{
		name: "node1", from: netip.MustParseAddr("192.0.2.1"), to: netip.MustParseAddr("2001:db8::2"),
		epoch: 1 << 60, echo: 2, seq: 3, flags: flagProbe | flagHearing,
		suspicions: []suspicion{{nodeID("node2"), netip.MustParseAddr("192.0.2.2"), kindKernel}, {nodeID("node3"), netip.MustParseAddr("2001:db8::3"), 0}},
		profile:    Profile{Version: 7, Bytes: []byte("profile")}, knows: 8,
	}
}

// testKeys returns the keys of a speaker that has these secrets.
func testKeys(secrets ...string) keyring {
	var all [][]byte
	for _, s := range secrets {
		all = append(all, []byte(s))
	}
	return newKeyring(all)
}

func TestMessageRoundTrip(t *testing.T) {
	k := testKeys("secret")
	long := example()
	long.name = strings.Repeat("n", 300)
	for range maxSuspicions {
		long.suspicions = append(long.suspicions, suspicion{4, netip.MustParseAddr("192.0.2.4"), kindSure})
	}
	long.profile.Bytes = bytes.Repeat([]byte("p"), MaxProfile)
	short := example()
	short.suspicions, short.profile.Bytes = nil, nil
	for _, m := range []message{example(), short, long} {
		sealed := m.seal(k.send())
		if len(sealed) > maxMessage {
			t.Errorf("%d bytes, more than %d", len(sealed), maxMessage)
		}
		got, err := open(k, sealed)
		m.name, m.suspicions = m.name[:min(255, len(m.name))], m.suspicions[:min(maxSuspicions, len(m.suspicions))]
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v (%v), want %+v", got, err, m)
		}
	}
}

func TestOpenRefusesForeignMessages(t *testing.T) {
	k := testKeys("secret")
	good := example().seal(k.send())
	other := bytes.Clone(good)
	other[0]++
	for name, tt := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":         {nil, errMalformed},
		"short":           {good[:fixedLength+tagLength], errMalformed},
		"another version": {other, errVersion},
		"another key":     {example().seal(testKeys("Secret").send()), errKey},
		"truncated":       {good[:len(good)-1], errKey},
	} {
		if _, err := open(k, tt.bytes); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 0x10
		if _, err := open(k, changed); err == nil {
			t.Errorf("a change of byte %d is not noticed", i)
		}
	}
}

// FuzzOpen calls open with messages that have a correct tag, to reach all of its code.
func FuzzOpen(f *testing.F) {
	k := testKeys("secret")
	sealed := example().seal(k.send())
	f.Add(sealed[:len(sealed)-tagLength])
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = open(k, text)
		m, err := open(k, append(bytes.Clone(text), tag(k.send(), text)...))
		if err != nil {
			return
		}
		if again, err := open(k, m.seal(k.send())); err != nil || len(m.suspicions) <= maxSuspicions && !reflect.DeepEqual(again, m) {
			t.Errorf("%+v is read again as %+v (%v)", m, again, err)
		}
	})
}

func TestParseTiming(t *testing.T) {
	for name, want := range map[string]Timing{"default": defaultTiming, "fast": fastTiming, "calm": calmTiming} {
		if got, err := ParseTiming(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := ParseTiming("quick"); err == nil || !strings.Contains(err.Error(), "fast (30ms)") {
		t.Errorf("got %v", err)
	}
}

// loopback starts speakers on 127.0.0.2, .3, …. It returns them, functions that end them,
// and their logs.
func loopback(t *testing.T, secrets ...string) (all []*Heartbeat, ends []func(), logs []*logBuffer) {
	t.Helper()
	return loopbackWith(t, defaultTiming, secrets...)
}

func loopbackWith(t *testing.T, timing Timing, secrets ...string) (all []*Heartbeat, ends []func(), logs []*logBuffer) {
	t.Helper()
	port := freePort(t)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 2)}) }
	for i, secret := range secrets {
		log := &logBuffer{}
		h, err := newOn(addr(i).String(), Options{
			Name: fmt.Sprint("node", i), Port: port, Keys: [][]byte{[]byte(secret)}, Timing: timing, Changed: func() {},
			OtherKey: func(from netip.Addr) { fmt.Fprintf(log, "rejected from %s\n", from.Unmap()) },
			Log:      slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = h.Run(ctx) }()
		end := func() { cancel(); <-ended }
		t.Cleanup(end)
		all, ends, logs = append(all, h), append(ends, end), append(logs, log)
	}
	for i, h := range all {
		var members []Member
		for j := range all {
			if i != j {
				members = append(members, Member{Name: fmt.Sprint("node", j), Paths: []Path{{Link: "lo", Local: addr(i), Remote: addr(j)}}})
			}
		}
		h.Set(t.Context(), members)
	}
	return all, ends, logs
}

type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestSpeakersHearEachOtherAndDetectACrash(t *testing.T) {
	all, ends, _ := loopback(t, "s", "s", "s")
	for _, h := range all {
		eventually(t, "it is ready and may answer", func() bool { return h.View().Ready && h.MayAnswer() })
	}
	start := time.Now()
	ends[2]()
	for _, h := range all[:2] {
		eventually(t, "it misses node2", func() bool { return len(h.View().Dead["node2"]) > 0 })
		if h.View().Fenced != "" || !h.MayAnswer() {
			t.Errorf("%+v", h.View())
		}
	}
	t.Logf("detected after %v", time.Since(start))
	ends[1]()
	all[0].Retire()
	if !all[0].MayAnswer() {
		t.Error("who leaves may not answer to the end")
	}
}

func TestKeyMismatchIsLogged(t *testing.T) {
	_, _, logs := loopback(t, "s", "t")
	for i, log := range logs {
		eventually(t, "it is in the log", func() bool { return strings.Contains(log.String(), "another key") })
		sender := fmt.Sprintf("rejected from 127.0.0.%d\n", 3-i)
		eventually(t, "the sender is named", func() bool { return strings.Contains(log.String(), sender) })
	}
}

func TestPortInUseIsReported(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	_, err = newOn("127.0.0.2", Options{Port: port, Keys: [][]byte{[]byte("s")}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "--heartbeat-port") {
		t.Errorf("got %v", err)
	}
}

func TestHandshakeProvesTheKeyToBothSides(t *testing.T) {
	for name, keys := range map[string][2]string{"the same key": {"s", "s"}, "another key": {"s", "t"}} {
		a, b := net.Pipe()
		result := make(chan error, 1)
		go func() {
			result <- welcome(b, testKeys(keys[1]))
			b.Close()
		}()
		err := greet(a, testKeys(keys[0]))
		a.Close()
		other := <-result
		if same := keys[0] == keys[1]; (err == nil) != same || (other == nil) != same {
			t.Errorf("%s: %v, %v", name, err, other)
		}
	}
}

// FuzzWelcome calls welcome with bytes that any host on the network can send to the port.
func FuzzWelcome(f *testing.F) {
	f.Add(make([]byte, helloLength+32))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if err := welcome(struct {
			*bytes.Reader
			discard
		}{bytes.NewReader(sent), discard{}}, testKeys("s")); err == nil {
			t.Errorf("%x was welcome", sent)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
