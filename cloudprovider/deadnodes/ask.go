package deadnodes

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

const (
	// dialTimeout is for the TCP connection and the TLS handshake.
	dialTimeout = time.Second
	// freshTimeout is how long a speaker has for an answer about a dead node.
	freshTimeout = 700 * time.Millisecond
	// pollTimeout is how long it has for the answer that it gives at the next change.
	pollTimeout = speakerapi.MaxWait + 2*time.Second
)

// errKey means that the speaker does not accept the key: it has changed.
var errKey = errors.New("the speaker does not accept the key of the speakers")

// session is a connection to a speaker.
type session struct {
	node    string
	conn    *tls.Conn
	reader  *bufio.Reader
	channel speakerapi.Channel
}

// dial connects to the speaker of a node.
func dial(ctx context.Context, node string, at netip.AddrPort) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// The certificate is not verified: the answers have a proof that only a speaker can give.
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}
	c, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("connecting to the speaker of node %s: %w", node, err)
	}
	conn := c.(*tls.Conn) // as tls.Dialer documents
	state := conn.ConnectionState()
	channel, err := speakerapi.Bind(&state)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the speaker of node %s: %w", node, err), conn.Close())
	}
	return &session{node, conn, bufio.NewReader(conn), channel}, nil
}

// ask returns what the speaker knows, as soon as the number of its answer is not after. The
// session cannot be used after an error. An error that is errKey means that another key may help.
func (s *session) ask(ctx context.Context, key []byte, after uint64, timeout time.Duration) (speakerapi.Answer, error) {
	answer, err := s.exchange(ctx, key, fmt.Sprintf("%s?after=%d", speakerapi.Path, after), timeout)
	if err != nil {
		return speakerapi.Answer{}, fmt.Errorf("asking the speaker of node %s: %w", s.node, err)
	}
	return answer, nil
}

func (s *session) exchange(ctx context.Context, key []byte, uri string, timeout time.Duration) (none speakerapi.Answer, err error) {
	defer context.AfterFunc(ctx, func() { _ = s.conn.NetConn().Close() })() // it ends the reading
	if err := s.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return none, err
	}
	_, err = fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: speaker\r\n%s: %s\r\n\r\n", uri, speakerapi.RequestHeader, s.channel.Request(key, uri))
	if err != nil {
		return none, err
	}
	response, err := http.ReadResponse(s.reader, nil)
	if err != nil {
		return none, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, speakerapi.MaxAnswer+1))
	if err != nil {
		return none, err
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return none, errKey
	case response.StatusCode != http.StatusOK:
		return none, fmt.Errorf("it answers with the status %d, %.200q", response.StatusCode, body)
	case !s.channel.VerifyAnswer(key, uri, body, response.Header.Get(speakerapi.AnswerHeader)):
		return none, errors.New("the answer has no valid proof: a host without the speakers' key has answered")
	}
	return speakerapi.Parse(body, s.node)
}

func (s *session) close() { _ = s.conn.NetConn().Close() } // without a farewell, for which a dead node would not take the data
