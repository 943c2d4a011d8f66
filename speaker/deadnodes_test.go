package speaker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
)

func well(dead ...string) heartbeat.View { return heartbeat.View{Ready: true, KernelDead: dead} }

// asked sends requests to a speaker on one TLS connection.
type asked struct {
	t       *testing.T
	conn    *tls.Conn
	reader  *bufio.Reader
	channel speakerapi.Channel
}

func ask(t *testing.T, url string, version uint16) *asked {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	state := conn.ConnectionState()
	channel, err := speakerapi.Bind(&state)
	if err != nil && version == tls.VersionTLS13 {
		t.Fatal(err)
	}
	return &asked{t, conn, bufio.NewReader(conn), channel}
}

// get sends a request that is signed with the key, and returns the status and the body. It
// checks the proof of a good answer.
func (a *asked) get(key, uri string) (int, string) {
	a.t.Helper()
	fmt.Fprintf(a.conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", uri, speakerapi.RequestHeader, a.channel.Request([]byte(key), uri))
	response, err := http.ReadResponse(a.reader, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK && !a.channel.VerifyAnswer([]byte(key), uri, body, response.Header.Get(speakerapi.AnswerHeader)) {
		a.t.Errorf("the proof of %s is wrong", body)
	}
	return response.StatusCode, string(body)
}

func TestDeadNodesAreToldToHoldersOfTheKey(t *testing.T) {
	p := serveWeb(t, WebOptions{})
	if status, text := ask(t, p.metrics, tls.VersionTLS13).get("key one", "/dead-nodes?after=0"); status != http.StatusServiceUnavailable {
		t.Errorf("without a key of its own, the speaker answers %d %s", status, text)
	}
	p.web.dead.setKeys([][]byte{[]byte("key one"), []byte("key two")})
	c := ask(t, p.metrics, tls.VersionTLS13)
	for _, test := range []struct {
		view     heartbeat.View
		key, uri string
		status   int
		text     string
	}{
		{heartbeat.View{}, "key one", "/dead-nodes?after=0", http.StatusOK, `{"version":1,"node":"node1","change":1,"fenced":true,"dead":[]}`},
		{well(), "key one", "/dead-nodes?after=0", http.StatusOK, `{"version":1,"node":"node1","change":2,"fenced":false,"dead":[]}`},
		{well("node2", "node3"), "key two", "/dead-nodes?after=2", http.StatusOK, `{"version":1,"node":"node1","change":3,"fenced":false,"dead":["node2","node3"]}`},
		{well("node2", "node3"), "key two", "/dead-nodes?after=0", http.StatusOK, `"change":3`},
		{heartbeat.View{Ready: true, Fenced: "it hears no member", KernelDead: []string{"node2"}}, "key two", "/dead-nodes?after=3", http.StatusOK, `"change":4,"fenced":true,"dead":[]`},
		{well(), "key two", "/dead-nodes?after=x", http.StatusBadRequest, "after must be the number of a change"},
		{well(), "key three", "/dead-nodes?after=0", http.StatusUnauthorized, "only the cluster manager"},
	} {
		p.web.dead.set(test.view)
		if status, text := c.get(test.key, test.uri); status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s with %s: %d %s, want %d %s", test.uri, test.key, status, text, test.status, test.text)
		}
	}
	for name, status := range map[string]int{
		"a token that may read metrics": first(get(t, p.metrics+"/dead-nodes?after=0", "prometheus")),
		"no proof":                      first(get(t, p.metrics+"/dead-nodes?after=0", "")),
		"TLS 1.2":                       first(ask(t, p.metrics, tls.VersionTLS12).get("key one", "/dead-nodes?after=0")),
	} {
		if status != http.StatusUnauthorized {
			t.Errorf("a client with %s gets %d", name, status)
		}
	}
	if status, _ := get(t, p.health+"/dead-nodes?after=0", ""); status != http.StatusNotFound {
		t.Errorf("the health port answers %d", status)
	}
	plain := serveWeb(t, WebOptions{InsecureMetrics: true})
	plain.web.dead.setKeys([][]byte{[]byte("key one")})
	if status, text := get(t, plain.metrics+"/dead-nodes?after=0", ""); status != http.StatusUnauthorized || !strings.Contains(text, "not TLS") {
		t.Errorf("without TLS the speaker answers %d %s", status, text)
	}
}

func first(status int, _ string) int { return status }

func TestDeadNodesWaitForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadNodes("node1", func(string) {}, slog.New(slog.DiscardHandler))
		d.set(well())
		begun := time.Now()
		if a := d.after(t.Context(), 2); a.Change != 2 || time.Since(begun) != speakerapi.MaxWait {
			t.Errorf("%+v after %v", a, time.Since(begun))
		}
		begun = time.Now()
		time.AfterFunc(time.Second, func() { d.set(well()) }) // no change
		time.AfterFunc(3*time.Second, func() { d.set(well("node2")) })
		if a := d.after(t.Context(), 2); a.Change != 3 || fmt.Sprint(a.Dead) != "[node2]" || time.Since(begun) != 3*time.Second {
			t.Errorf("%+v after %v", a, time.Since(begun))
		}
		if text, err := d.after(t.Context(), 2).Format(); err != nil || !bytes.Contains(text, []byte(`"change":3`)) {
			t.Errorf("%s, %v", text, err)
		}
	})
}
