package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// stateName returns the name that RFC 4271 gives a state.
func stateName(s packet.FSMState) string { return strings.TrimPrefix(s.String(), "BGP_FSM_") }

// ended explains why a session that was up has ended.
func (p Peer) ended(reason api.PeerState_DisconnectReason, message string) string {
	switch reason {
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED, api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return fmt.Sprintf("%s ended the session: %s", p.Address, received(message))
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return "this node ended the session: " + sent(message)
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_WRITE_FAILED, api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return fmt.Sprintf("%s closed the connection without a NOTIFICATION; it may have restarted", p.Address)
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return fmt.Sprintf("%s sent an invalid message: %s", p.Address, message)
	}
	return message
}

// unconnected explains why no connection could be made. err is the kernel's text.
func (p Peer) unconnected(err string) string {
	at := fmt.Sprintf("%s port %d", p.Address, p.Port)
	switch {
	case strings.Contains(err, "connection refused"):
		return "no process listens at " + at + ": check that BGP runs there"
	case strings.Contains(err, "timeout"):
		why := "the router is unreachable, drops packets from this node"
		if p.MyASN != p.ASN && p.MultihopTTL == 0 {
			why += ", is more than one hop away (ebgp-multihop)"
		}
		if p.TTLSecurity {
			why += ", sends packets with a TTL below 255 (ttl-security)"
		}
		return at + " does not answer: " + why + ", or the password differs"
	case strings.Contains(err, "cannot assign requested address"):
		return fmt.Sprintf("%s is no address of this node: change source-address, or limit the peer to some nodes with node-selectors", p.Source)
	case strings.Contains(err, "no route to host"), strings.Contains(err, "network is unreachable"), strings.Contains(err, "host is unreachable"):
		return at + " is unreachable: " + err[strings.LastIndex(err, ": ")+2:]
	case strings.Contains(err, "connection reset"):
		return at + " resets the connection: check that this node is configured there as a neighbour"
	}
	return "connecting to " + at + ": " + err
}

// refused explains a NOTIFICATION that this node has sent (RFC 4271, section 4.5): what
// is wrong with the peer's OPEN, or what came instead of one.
func (p Peer) refused(code, subcode int64) string {
	switch {
	case code == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && subcode == packet.BGP_ERROR_SUB_BAD_PEER_AS:
		return fmt.Sprintf("%s is not in AS %d: correct peer-asn, or the AS of the router", p.Address, p.ASN)
	case code == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && subcode == packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER:
		return fmt.Sprintf("%s has the same router ID as this node, %s: change one of them", p.Address, p.RouterID)
	case code == packet.BGP_ERROR_FSM_ERROR:
		return p.unconfirmed() // a NOTIFICATION came instead of an OPEN
	case code == packet.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return p.silent()
	}
	return fmt.Sprintf("the session with %s cannot be set up: %s", p.Address, inWords(code, subcode))
}

// silent explains that no OPEN came.
func (p Peer) silent() string {
	text := fmt.Sprintf("%s accepted the connection, but sends nothing", p.Address)
	if p.TTLSecurity {
		text += ": the TTL of its packets may be below 255 (ttl-security)"
	}
	return text
}

// tooManyPrefixes explains that the session ended because of maxPrefixes.
func (p Peer) tooManyPrefixes() string {
	return fmt.Sprintf("%s sent more than %d prefixes of one family, and this node needs none: configure the router to send none. The session begins again after %v", p.Address, maxPrefixes, limitPause)
}

// unconfirmed explains that a peer refuses our OPEN. The exact reason is in its
// NOTIFICATION, which GoBGP does not report.
func (p Peer) unconfirmed() string {
	return fmt.Sprintf("%s refuses this node: it may expect another AS than our %d, or another router has our router ID %s; see the log of the router", p.Address, p.MyASN, p.RouterID)
}

// logReader reads the log of the GoBGP server. Only the log says why a session cannot be
// set up.
type logReader struct{ session *session }

// Enabled accepts all records: GoBGP logs a failed connection at the level debug.
func (l *logReader) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs and WithGroup ignore their arguments: all records are about one session.
func (l *logReader) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logReader) WithGroup(string) slog.Handler      { return l }

// Handle never fails.
func (l *logReader) Handle(_ context.Context, r slog.Record) error {
	s := l.session
	switch r.Message {
	case "failed to connect":
		s.failed(s.peer.unconnected(attr(r, "Error").String()))
	case "outgoing connection IO error":
		s.failed(fmt.Sprintf("%s closed the connection at once: check that this node is configured there as a neighbour, and that no other program of this node has a session with it", s.peer.Address))
	case "sent notification":
		s.failed(s.peer.refused(attr(r, "Code").Int64(), attr(r, "Subcode").Int64()))
	case "outgoing connection established":
		s.connected()
	case "prefix limit reached":
		s.limit()
	case "cannot change to the same state", "previous setting admin state request is still remaining":
		// The router goes on sending after prefix limit reached.
	case "hold timer expired":
		s.noteReason(fmt.Sprintf("%s sent nothing for the hold time, %s or less if it asked for less", s.peer.Address, s.peer.HoldTime))
	default:
		level := slog.LevelDebug
		if r.Level >= slog.LevelWarn && !s.isClosed() {
			level = r.Level
		}
		s.log.Log(context.Background(), level, "message from GoBGP", "text", r.Message, "error", attr(r, "Error"))
	}
	return nil
}

func attr(r slog.Record, key string) (value slog.Value) {
	value = slog.Int64Value(0)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value
		}
		return a.Key != key
	})
	return value
}
