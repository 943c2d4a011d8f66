package debugapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// CaptureKind is the kind of the first line of a capture.
const CaptureKind = "Capture"

// The bounds of a capture on one node.
const (
	MaxCaptureTime  = time.Minute
	MaxCaptureBytes = 8 << 20
)

// maxCaptureLine bounds a line of a capture. A frame has at most 64 KiB.
const maxCaptureLine = 256 << 10

// CaptureRequest says what to capture: the frames of ARP and of neighbor discovery about an
// address, BGP, and BFD.
type CaptureRequest struct {
	Address netip.Addr
	// For is how long to capture. Bytes is how many bytes of frames to capture.
	For   time.Duration
	Bytes int
}

// Query returns the request as the parameters of an URL.
func (r CaptureRequest) Query() url.Values {
	return url.Values{"address": {r.Address.String()}, "for": {r.For.String()}, "bytes": {strconv.Itoa(r.Bytes)}}
}

// ParseCaptureRequest reads the parameters of an URL. for and bytes can be missing.
func ParseCaptureRequest(q url.Values) (CaptureRequest, error) {
	r := CaptureRequest{For: 30 * time.Second, Bytes: MaxCaptureBytes}
	var err error
	if r.Address, err = netip.ParseAddr(q.Get("address")); err != nil {
		return r, fmt.Errorf("reading the parameter address: %w: write an IP address", err)
	}
	if text := q.Get("for"); text != "" {
		if r.For, err = time.ParseDuration(text); err != nil || r.For <= 0 || r.For > MaxCaptureTime {
			return r, fmt.Errorf("the parameter for is %q: write a time of at most %v, such as 30s", text, MaxCaptureTime)
		}
	}
	if text := q.Get("bytes"); text != "" {
		if r.Bytes, err = strconv.Atoi(text); err != nil || r.Bytes <= 0 || r.Bytes > MaxCaptureBytes {
			return r, fmt.Errorf("the parameter bytes is %q: write a number of at most %d", text, MaxCaptureBytes)
		}
	}
	return r, nil
}

// A capture is lines of JSON: a CaptureStart, a CaptureFrame for each frame, and a CaptureEnd. A
// capture without an end was interrupted.

// CaptureStart is the first line.
type CaptureStart struct {
	Header
	Address netip.Addr    `json:"address"`
	Links   []CaptureLink `json:"links"`
}

// CaptureLink is a link on which frames are captured.
type CaptureLink struct {
	Link string `json:"link"`
	MAC  string `json:"mac"`
	// Problem says why nothing is captured on the link; empty if it is.
	Problem string `json:"problem,omitempty"`
}

// CaptureFrame is a frame that was received or sent.
type CaptureFrame struct {
	// Link is the place of the link in the links of the CaptureStart.
	Link int       `json:"link"`
	Time time.Time `json:"time"`
	// Outgoing is set if the node has sent the frame.
	Outgoing bool `json:"outgoing,omitempty"`
	// Frame begins with the Ethernet header.
	Frame []byte `json:"frame"`
}

// TimeIsOver is why a capture has ended that was not ended early.
const TimeIsOver = "the time is over"

// CaptureEnd is the last line.
type CaptureEnd struct {
	// Why says why the capture has ended.
	Why string `json:"why"`
	// Frames is how many frames there are. Lost is how many more the node could not keep up with.
	Frames int    `json:"frames"`
	Lost   uint64 `json:"lost,omitempty"`
}

// captureLine is a line after the first one. One of the two is set.
type captureLine struct {
	Frame *CaptureFrame `json:"frame,omitempty"`
	End   *CaptureEnd   `json:"end,omitempty"`
}

// CaptureWriter writes a capture.
type CaptureWriter struct{ e *json.Encoder }

// NewCaptureWriter writes the first line.
func NewCaptureWriter(w io.Writer, start CaptureStart) (*CaptureWriter, error) {
	c := &CaptureWriter{json.NewEncoder(w)}
	return c, c.e.Encode(start)
}

// Frame writes a frame.
func (c *CaptureWriter) Frame(f CaptureFrame) error { return c.e.Encode(captureLine{Frame: &f}) }

// End writes the last line.
func (c *CaptureWriter) End(e CaptureEnd) error { return c.e.Encode(captureLine{End: &e}) }

// Captured is a capture as it was read.
type Captured struct {
	Start  CaptureStart
	Frames []CaptureFrame
	// End is nil if the capture was interrupted.
	End *CaptureEnd
}

// ReadCapture reads a capture to its end. After an error it returns what it has read before.
func ReadCapture(r io.Reader) (Captured, error) {
	var c Captured
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxCaptureLine)
	if !lines.Scan() {
		return c, fmt.Errorf("reading the first line of a capture: %w", cause(lines.Err()))
	}
	if err := Decode(lines.Bytes(), CaptureKind, &c.Start); err != nil {
		return c, err
	}
	for lines.Scan() {
		var line captureLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return c, fmt.Errorf("reading line %d of a capture: %w", len(c.Frames)+2, err)
		}
		switch {
		case line.End != nil:
			c.End = line.End
			return c, nil
		case line.Frame == nil:
			continue // a newer speaker
		case line.Frame.Link < 0 || line.Frame.Link >= len(c.Start.Links):
			return c, fmt.Errorf("line %d of a capture is a frame of link %d, but there are %d links", len(c.Frames)+2, line.Frame.Link, len(c.Start.Links))
		}
		c.Frames = append(c.Frames, *line.Frame)
	}
	return c, fmt.Errorf("a capture was interrupted after %d frames: %w", len(c.Frames), cause(lines.Err()))
}

// cause returns the reason why there is no further line.
func cause(err error) error {
	if err == nil {
		return errors.New("the connection has ended")
	}
	return err
}
