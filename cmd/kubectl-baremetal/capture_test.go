package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	v1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// captured is what a speaker sends: a frame of each of the times, on two links in turn. The byte of each
// frame is the number of the node.
func captured(t *testing.T, node string, end bool, seconds ...int64) string {
	t.Helper()
	var b strings.Builder
	start := debugapi.CaptureStart{Header: debugapi.NewHeader(debugapi.CaptureKind, "v1", time.Unix(1, 0)), Links: []debugapi.CaptureLink{{Link: "eth0", MAC: "02:00:00:00:00:01"}, {Link: "eth1"}}}
	start.Node = node
	w, err := debugapi.NewCaptureWriter(&b, start)
	for i, s := range seconds {
		err = errors.Join(err, w.Frame(debugapi.CaptureFrame{Link: i % 2, Time: time.Unix(s, 7000).UTC(), Outgoing: i == 0, Frame: bytes.Repeat([]byte(node[4:]), 42+i)}))
	}
	if end {
		err = errors.Join(err, w.End(debugapi.CaptureEnd{Why: debugapi.TimeIsOver, Frames: len(seconds)}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func capture(t *testing.T, ctx context.Context, posts podPosts, nodes ...string) (file []byte, said string, err error) {
	t.Helper()
	streams, _, _, stderr := genericiooptions.NewTestIOStreams()
	var speakers []diagnose.Speaker
	for _, n := range nodes {
		speakers = append(speakers, speakerOn(n))
	}
	var out bytes.Buffer
	err = captureOn(ctx, newOptions(streams), posts, speakers, &out, "a.pcapng", debugapi.CaptureRequest{Address: netip.MustParseAddr("192.0.2.7"), For: time.Second})
	return out.Bytes(), stderr.String(), err
}

func TestCaptureOfAllNodesIsOneFileInTheOrderOfTime(t *testing.T) {
	file, said, err := capture(t, t.Context(), answers{"node1": captured(t, "node1", true, 10, 30), "node2": captured(t, "node2", true, 20, 40)}, "node1", "node2")
	if err != nil || !strings.HasSuffix(said, "wrote a.pcapng: 4 frames of 2 nodes\n") {
		t.Errorf("%v: %s", err, said)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := 0; ; i++ {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		link, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, link.Name)
		if want := time.Unix(int64(10+10*i), 7000); !info.Timestamp.Equal(want) {
			t.Errorf("frame %d is of %v, not of %v", i, info.Timestamp, want)
		}
		if node := link.Name[4:5]; len(data) != 42+i/2 || string(data[:1]) != node {
			t.Errorf("frame %d on %s: %d bytes, the first is %q", i, link.Name, len(data), data[:1])
		}
		if outgoing := options.Flags != nil && options.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound; outgoing != (i < 2) {
			t.Errorf("frame %d: %+v", i, options.Flags)
		}
	}
	if want := "node1:eth0 node2:eth0 node1:eth1 node2:eth1"; strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
}

func TestCaptureSaysWhichNodeIsMissing(t *testing.T) {
	file, said, err := capture(t, t.Context(), answers{"node1": captured(t, "node1", true, 1), "node3": captured(t, "node3", false, 2)}, "node1", "node2", "node3")
	if !errors.Is(err, errProblems) || len(file) == 0 {
		t.Errorf("%v, %d bytes", err, len(file))
	}
	for _, want := range []string{"node node2: no answer\n", "node node3: a capture was interrupted after 1 frames", "2 frames of 2 nodes"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %s", want, said)
		}
	}
}

func TestCaptureOfNoNodeIsAnError(t *testing.T) {
	file, _, err := capture(t, t.Context(), answers{}, "node1")
	if exitCode(err) != 2 || len(file) > 0 {
		t.Errorf("%v, %d bytes", err, len(file))
	}
}

// interrupted sends half of a capture, and then waits for the user.
type interrupted struct{ text string }

func (p interrupted) post(ctx context.Context, _ *v1.Pod, _ uint16, _ string, read func(io.Reader) error) error {
	_ = read(strings.NewReader(p.text)) // it ends too early
	<-ctx.Done()
	return ctx.Err()
}

func TestCaptureThatTheUserEndsIsComplete(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, said, err := capture(t, ctx, interrupted{captured(t, "node1", false, 1, 2)}, "node1")
	if err != nil || !strings.HasSuffix(said, "2 frames of 1 node\n") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestFileIsRemovedIfNothingWasFoundOut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := toFile(nil, name, func(io.Writer) error { return notDone(errors.New("nothing")) }); exitCode(err) != 2 || err.Error() != "nothing" {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("the file is there")
	}
	if err := toFile(nil, name, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return errors.Join(err, errProblems) }); exitCode(err) != 1 {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
