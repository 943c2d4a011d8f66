// Package debugapi describes the JSON documents with which the programs say what they do and
// why. They serve them on loopback. The plugin of kubectl reads them.
//
// A document of one version never loses a field, and a field never changes its meaning. A newer
// program may add fields, so readers must ignore fields that they do not know.
package debugapi

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Version is the version of the documents. APIVersion is what the documents say.
const (
	Version    = "v1"
	APIVersion = "debug.lb.baremetal/" + Version
)

// The paths of the documents. A speaker serves the first four, the cluster manager the last one.
const (
	PlanPath        = "/debug/plan"
	BGPPath         = "/debug/bgp"
	SpreadPath      = "/debug/spread"
	MembersPath     = "/debug/members"
	AllocationsPath = "/debug/allocations"
)

// WithoutState is the query of PlanPath for a plan without its state, which is most of the document.
const WithoutState = "state=false"

// MetricsPath has the metrics of a program, in the format of Prometheus. They are the same as at
// its port for Prometheus. Both programs serve it.
const MetricsPath = "/debug/metrics"

// The kinds of documents.
const (
	PlanKind        = "Plan"
	BGPKind         = "BGP"
	SpreadKind      = "Spread"
	MembersKind     = "Members"
	AllocationsKind = "Allocations"
)

// ContentType is the media type of the documents.
const ContentType = "application/json"

// Header begins each document.
type Header struct {
	// APIVersion and Kind say what the document is.
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Node is the name of the speaker's node; empty in documents of the cluster manager.
	Node string `json:"node,omitempty"`
	// Host is the name of the cluster manager's host; empty in documents of a speaker.
	Host string `json:"host,omitempty"`
	// ProgramVersion is the version of the program.
	ProgramVersion string `json:"programVersion"`
	// Time is when the document was made.
	Time time.Time `json:"time"`
	// Problem says why the document is empty, for example because the program has just
	// started; empty if it is complete.
	Problem string `json:"problem,omitempty"`
}

// NewHeader returns the header of a document of that kind.
func NewHeader(kind, programVersion string, now time.Time) Header {
	return Header{APIVersion: APIVersion, Kind: kind, ProgramVersion: programVersion, Time: now.UTC()}
}

// Check returns an error if the header is not that of a document of this version and kind.
func (h *Header) Check(kind string) error {
	if h.APIVersion != APIVersion || h.Kind != kind {
		return fmt.Errorf("the document is %s %s, but %s %s was asked for: use the plugin of the same version as the programs", h.APIVersion, h.Kind, APIVersion, kind)
	}
	return nil
}

// Document is one of the documents.
type Document interface{ Check(kind string) error }

// Decode reads a document of that kind into d.
func Decode(text []byte, kind string, d Document) error {
	if err := json.Unmarshal(text, d); err != nil {
		return fmt.Errorf("decoding a document of the kind %s: %w", kind, err)
	}
	return d.Check(kind)
}

// WantsJSON reports whether a client asks for a document instead of a text for people: by the
// header Accept, or by ?format=json.
func WantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "text":
		return false
	}
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if mediaType, _, _ := strings.Cut(accepted, ";"); strings.TrimSpace(mediaType) == ContentType {
			return true
		}
	}
	return false
}

// Write writes a document, compressed if the client can read that. A document of a large cluster
// repeats the names of the nodes, so it becomes much smaller.
func Write(w http.ResponseWriter, r *http.Request, document any) error {
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	if !acceptsGzip(r) {
		if err := json.NewEncoder(w).Encode(document); err != nil {
			return fmt.Errorf("writing a document: %w", err)
		}
		return nil
	}
	w.Header().Set("Content-Encoding", "gzip")
	zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
	if err := errors.Join(json.NewEncoder(zip).Encode(document), zip.Close()); err != nil {
		return fmt.Errorf("writing a document: %w", err)
	}
	return nil
}

// acceptsGzip reports whether a client can read what is compressed.
func acceptsGzip(r *http.Request) bool {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if coding, quality, _ := strings.Cut(accepted, ";"); strings.TrimSpace(coding) == "gzip" {
			return strings.ReplaceAll(quality, " ", "") != "q=0"
		}
	}
	return false
}
