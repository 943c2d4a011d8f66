package debugapi

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCaptureIsReadAsItWasWritten(t *testing.T) {
	var b bytes.Buffer
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	w, err := NewCaptureWriter(&b, CaptureStart{Header: NewHeader(CaptureKind, "v1", at), Address: netip.MustParseAddr("192.0.2.1"), Links: []CaptureLink{{Link: "eth0"}, {Link: "eth1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Frame(CaptureFrame{Link: 1, Time: at, Outgoing: true, Frame: bytes.Repeat([]byte{7}, 1<<16)}); err != nil {
		t.Fatal(err)
	}
	whole := b.Len()
	if err := w.End(CaptureEnd{Why: "the time is over", Frames: 1, Lost: 2}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	got, err := ReadCapture(strings.NewReader(text))
	if err != nil || len(got.Frames) != 1 || len(got.Frames[0].Frame) != 1<<16 || !got.Frames[0].Time.Equal(at) || !got.Frames[0].Outgoing || got.End.Lost != 2 {
		t.Errorf("%d frames, %+v, %v", len(got.Frames), got.End, err)
	}
	got, err = ReadCapture(strings.NewReader(text[:whole]))
	if err == nil || !strings.Contains(err.Error(), "interrupted after 1 frames") || len(got.Frames) != 1 || got.End != nil {
		t.Errorf("interrupted: %d frames, %+v, %v", len(got.Frames), got.End, err)
	}
}

func TestCaptureRequestIsReadAsItWasWritten(t *testing.T) {
	want := CaptureRequest{Address: netip.MustParseAddr("2001:db8::1"), For: 7 * time.Second, Bytes: 1000}
	if got, err := ParseCaptureRequest(want.Query()); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, query := range []string{"", "address=x", "address=192.0.2.1&for=61s", "address=192.0.2.1&for=-1s", "address=192.0.2.1&bytes=0", "address=192.0.2.1&bytes=9000000"} {
		q, _ := url.ParseQuery(query)
		if got, err := ParseCaptureRequest(q); err == nil {
			t.Errorf("%q is read as %+v", query, got)
		}
	}
}

func FuzzReadCapture(f *testing.F) {
	var b bytes.Buffer
	w, _ := NewCaptureWriter(&b, CaptureStart{Header: NewHeader(CaptureKind, "v1", time.Unix(1, 0)), Links: []CaptureLink{{Link: "eth0"}}})
	_ = w.Frame(CaptureFrame{Frame: []byte{1}})
	_ = w.End(CaptureEnd{})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _ := ReadCapture(bytes.NewReader(text))
		for _, frame := range got.Frames {
			if frame.Link < 0 || frame.Link >= len(got.Start.Links) {
				t.Errorf("a frame of link %d of %d", frame.Link, len(got.Start.Links))
			}
		}
	})
}
