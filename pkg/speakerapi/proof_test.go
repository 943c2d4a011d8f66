package speakerapi_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

// connect returns the Channels of the two ends of a TLS connection.
func connect(t *testing.T, version uint16) (client, server speakerapi.Channel, err error) {
	t.Helper()
	host := httptest.NewUnstartedServer(http.NotFoundHandler())
	host.StartTLS() // only for its certificate
	defer host.Close()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	accepted := tls.Server(far, &tls.Config{Certificates: host.TLS.Certificates})
	ended := make(chan error, 1)
	go func() { ended <- accepted.Handshake() }()
	dialled := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err := dialled.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	a, b := dialled.ConnectionState(), accepted.ConnectionState()
	if client, err = speakerapi.Bind(&a); err != nil {
		return client, server, err
	}
	server, err = speakerapi.Bind(&b)
	return client, server, err
}

func TestProofNeedsTheKeyAndTheConnection(t *testing.T) {
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	client, server, err := connect(t, tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	relay, _, err := connect(t, tls.VersionTLS13) // the other connection of a host in between
	if err != nil {
		t.Fatal(err)
	}
	const uri = "/dead-nodes?after=3"
	header := client.Request(key, uri)
	for name, test := range map[string]struct {
		channel speakerapi.Channel
		keys    [][]byte
		uri     string
		header  string
		want    bool
	}{
		"the key":             {server, [][]byte{key}, uri, header, true},
		"the second key":      {server, [][]byte{other, key}, uri, header, true},
		"another key":         {server, [][]byte{other}, uri, header, false},
		"no key":              {server, nil, uri, header, false},
		"another request":     {server, [][]byte{key}, "/dead-nodes?after=4", header, false},
		"another connection":  {relay, [][]byte{key}, uri, header, false},
		"an empty header":     {server, [][]byte{key}, uri, "", false},
		"no proof":            {server, [][]byte{key}, uri, "Speaker-Key ", false},
		"no scheme":           {server, [][]byte{key}, uri, strings.TrimPrefix(header, "Speaker-Key "), false},
		"half of the proof":   {server, [][]byte{key}, uri, header[:len(header)/2], false},
		"a token":             {server, [][]byte{key}, uri, "Bearer x", false},
		"the answer's proof":  {server, [][]byte{key}, uri, "Speaker-Key " + server.Answer(key, uri, nil), false},
		"a proof in capitals": {server, [][]byte{key}, uri, "Speaker-Key " + strings.ToUpper(strings.TrimPrefix(header, "Speaker-Key ")), true},
	} {
		got, ok := test.channel.VerifyRequest(test.keys, test.uri, test.header)
		if ok != test.want || ok && !bytes.Equal(got, key) {
			t.Errorf("%s: %v, key %x", name, ok, got)
		}
	}
	body := []byte(`{"version":1}`)
	proof := server.Answer(key, uri, body)
	for name, test := range map[string]struct {
		channel speakerapi.Channel
		key     []byte
		uri     string
		body    string
		header  string
		want    bool
	}{
		"the answer":         {client, key, uri, string(body), proof, true},
		"another answer":     {client, key, uri, `{"version":2}`, proof, false},
		"another key":        {client, other, uri, string(body), proof, false},
		"another request":    {client, key, "/dead-nodes?after=4", string(body), proof, false},
		"another connection": {relay, key, uri, string(body), proof, false},
		"no proof":           {client, key, uri, string(body), "", false},
		"the request's own":  {client, key, uri, "", strings.TrimPrefix(header, "Speaker-Key "), false},
	} {
		if got := test.channel.VerifyAnswer(test.key, test.uri, []byte(test.body), test.header); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBindNeedsTLS13(t *testing.T) {
	if _, _, err := connect(t, tls.VersionTLS12); err == nil {
		t.Error("TLS 1.2 is accepted")
	}
	if _, err := speakerapi.Bind(nil); err == nil {
		t.Error("a connection without TLS is accepted")
	}
}
