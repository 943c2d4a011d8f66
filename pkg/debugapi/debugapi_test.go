package debugapi_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestDocumentOfAnotherVersionOrKindIsRefused(t *testing.T) {
	w := httptest.NewRecorder()
	doc := debugapi.BGP{Header: debugapi.NewHeader(debugapi.BGPKind, "v1.2.3", time.Now()), Sessions: []debugapi.Session{{Peer: "tor", Up: true}}}
	if err := debugapi.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), doc); err != nil {
		t.Fatal(err)
	}
	text := w.Body.String()
	for name, test := range map[string]struct{ text, kind, err string }{
		"the same":          {text, debugapi.BGPKind, ""},
		"a field more":      {strings.Replace(text, `"sessions"`, `"later":1,"sessions"`, 1), debugapi.BGPKind, ""},
		"another kind":      {text, debugapi.PlanKind, "debug.lb.baremetal/v1 Plan was asked for"},
		"another version":   {strings.Replace(text, "/v1", "/v2", 1), debugapi.BGPKind, "debug.lb.baremetal/v2"},
		"a page for people": {"tor address=192.0.2.1 state=ESTABLISHED\n", debugapi.BGPKind, "decoding a document of the kind BGP"},
		"nothing":           {"", debugapi.BGPKind, "decoding"},
	} {
		var got debugapi.BGP
		err := debugapi.Decode([]byte(test.text), test.kind, &got)
		if test.err == "" && (err != nil || len(got.Sessions) != 1 || got.ProgramVersion != "v1.2.3") {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.err)
		}
	}
}

func TestJSONIsWhatTheClientAsksFor(t *testing.T) {
	for _, test := range []struct {
		url, accept string
		want        bool
	}{
		{"/", "", false},
		{"/", "*/*", false},
		{"/", "text/html,application/json;q=0.5", true},
		{"/", "application/json", true},
		{"/?format=json", "", true},
		{"/?format=text", "application/json", false},
	} {
		r := httptest.NewRequest(http.MethodGet, test.url, nil)
		r.Header.Set("Accept", test.accept)
		if got := debugapi.WantsJSON(r); got != test.want {
			t.Errorf("%s with Accept: %s: %t, want %t", test.url, test.accept, got, test.want)
		}
	}
}

func TestDocumentIsCompressedForAClientThatReadsThat(t *testing.T) {
	for accepted, compressed := range map[string]bool{"": false, "gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "br": false} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", accepted)
		doc := debugapi.BGP{Header: debugapi.NewHeader(debugapi.BGPKind, "v1.2.3", time.Now())}
		if err := debugapi.Write(w, r, doc); err != nil {
			t.Fatal(err)
		}
		text := w.Body.Bytes()
		if compressed != (w.Header().Get("Content-Encoding") == "gzip") {
			t.Errorf("%q: the headers are %v", accepted, w.Header())
		}
		if compressed {
			reader, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if text, err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
		var got debugapi.BGP
		if err := debugapi.Decode(text, debugapi.BGPKind, &got); err != nil {
			t.Errorf("%q: %v", accepted, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"debug.lb.baremetal/v1","kind":"Plan","decisions":[{"vip":"192.0.2.1","network":"192.0.2.0/24"}],"state":{"nodeAddrs":{"fe80::1":"a"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var doc debugapi.Plan
		if err := debugapi.Decode(text, debugapi.PlanKind, &doc); err == nil && doc.APIVersion != debugapi.APIVersion {
			t.Errorf("accepted %q", text)
		}
	})
}
