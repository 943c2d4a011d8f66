package speakerapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// RequestHeader has the proof of the client, and AnswerHeader that of the speaker.
	RequestHeader, AnswerHeader = "Authorization", "Speaker-Proof"

	scheme = "Speaker-Key "
	// purpose makes the key of this protocol another one than that of the heartbeats and of
	// the member list.
	purpose = "baremetal dead-nodes v1"
	// exporterLabel is that of RFC 9266, section 2, but of this protocol alone.
	exporterLabel  = "EXPORTER-baremetal-dead-nodes-v1"
	exporterLength = 32
)

// Channel proves on one TLS connection that both ends have the speakers' key.
type Channel struct{ secret []byte }

// Bind returns the Channel of a TLS connection. It uses a secret that the two ends of the
// connection derive from their handshake (RFC 8446, section 7.5; RFC 9266). A host between the
// two has two connections, with two secrets, so it cannot pass a proof on. TLS 1.3 is needed,
// because earlier versions do not always bind this secret to the handshake.
func Bind(state *tls.ConnectionState) (Channel, error) {
	if state == nil || state.Version < tls.VersionTLS13 {
		return Channel{}, errors.New("the connection is not TLS 1.3")
	}
	secret, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterLength)
	if err != nil {
		return Channel{}, fmt.Errorf("deriving a secret from the TLS connection: %w", err)
	}
	return Channel{secret}, nil
}

// Request returns the value of RequestHeader for a request of this URI, path and query.
func (c Channel) Request(key []byte, uri string) string {
	return scheme + hex.EncodeToString(c.requestProof(key, uri))
}

// VerifyRequest returns the key with which a request was signed. ok is false if it was signed
// with none of the keys.
func (c Channel) VerifyRequest(keys [][]byte, uri, header string) (key []byte, ok bool) {
	given, err := hex.DecodeString(strings.TrimPrefix(header, scheme))
	if err != nil || !strings.HasPrefix(header, scheme) {
		return nil, false
	}
	for _, key := range keys {
		if hmac.Equal(given, c.requestProof(key, uri)) {
			return key, true
		}
	}
	return nil, false
}

// Answer returns the value of AnswerHeader for the answer to a request. key is the key of the
// request.
func (c Channel) Answer(key []byte, uri string, body []byte) string {
	return hex.EncodeToString(c.answerProof(key, uri, body))
}

// VerifyAnswer reports whether a speaker with the key has given this answer to the request.
func (c Channel) VerifyAnswer(key []byte, uri string, body []byte, header string) bool {
	given, err := hex.DecodeString(header)
	return err == nil && hmac.Equal(given, c.answerProof(key, uri, body))
}

func (c Channel) requestProof(key []byte, uri string) []byte {
	return proof(key, "request", c.secret, []byte(uri))
}

func (c Channel) answerProof(key []byte, uri string, body []byte) []byte {
	return proof(key, "answer", c.requestProof(key, uri), body)
}

// proof returns the HMAC of a text. direction keeps a request from being an answer. secret has
// always the same length, so that the parts cannot be shifted against each other.
func proof(key []byte, direction string, secret, text []byte) []byte {
	derived := hmac.New(sha256.New, key)
	derived.Write([]byte(purpose)) // a Hash never returns an error
	mac := hmac.New(sha256.New, derived.Sum(nil))
	mac.Write([]byte(direction + "\x00"))
	mac.Write(secret)
	mac.Write(text)
	return mac.Sum(nil)
}
