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

// ended says why a session that was up has ended.
func (p Peer) ended(reason api.PeerState_DisconnectReason, message string) string {
	switch reason {
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED, api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return fmt.Sprintf("%s has ended the session: %s", p.Address, strings.TrimPrefix(message, "notification-received "))
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return "we have ended the session: " + strings.TrimPrefix(message, "notification-sent ")
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_WRITE_FAILED, api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return fmt.Sprintf("%s has closed the connection without a word; it may have restarted", p.Address)
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return fmt.Sprintf("%s has sent a message that is not understood: %s", p.Address, message)
	}
	return message
}

// unconnected says why no connection could be made, of what the kernel says.
func (p Peer) unconnected(err string) string {
	at := fmt.Sprintf("%s port %d", p.Address, p.Port)
	switch {
	case strings.Contains(err, "connection refused"):
		return "nobody listens at " + at + ": is BGP running there?"
	case strings.Contains(err, "timeout"):
		why := "the router is unreachable, drops packets from this node"
		if p.MyASN != p.ASN && p.MultihopTTL == 0 {
			why += ", is more than one hop away (ebgp-multihop)"
		}
		return at + " does not answer: " + why + ", or the password differs"
	case strings.Contains(err, "cannot assign requested address"):
		return fmt.Sprintf("%s is no address of this node: change source-address, or select the nodes with node-selectors", p.Source)
	case strings.Contains(err, "no route to host"), strings.Contains(err, "network is unreachable"), strings.Contains(err, "host is unreachable"):
		return at + " is unreachable: " + err[strings.LastIndex(err, ": ")+2:]
	case strings.Contains(err, "connection reset"):
		return at + " resets the connection: does the router know this node as a neighbour?"
	}
	return "connecting to " + at + ": " + err
}

// refused says what we did not like in the peer's OPEN, or what the peer did not
// like in ours, of the NOTIFICATION that we have sent (RFC 4271, section 4.5).
func (p Peer) refused(code, subcode int64) string {
	switch {
	case code == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && subcode == packet.BGP_ERROR_SUB_BAD_PEER_AS:
		return fmt.Sprintf("%s is not of AS %d: correct peer-asn, or the router's AS", p.Address, p.ASN)
	case code == packet.BGP_ERROR_OPEN_MESSAGE_ERROR && subcode == packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER:
		return fmt.Sprintf("%s has our own router ID, %s: one of the two must have another", p.Address, p.RouterID)
	case code == packet.BGP_ERROR_FSM_ERROR:
		return p.unconfirmed() // what came instead of an OPEN was a NOTIFICATION
	case code == packet.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return fmt.Sprintf("%s has accepted the connection, and says nothing", p.Address)
	}
	return fmt.Sprintf("%s cannot be talked with: %s", p.Address, packet.NewNotificationErrorCode(uint8(code), uint8(subcode)))
}

// unconfirmed says what there is to say of a peer that does not like our OPEN. What
// exactly it has against it is in its NOTIFICATION, which GoBGP does not tell.
func (p Peer) unconfirmed() string {
	return fmt.Sprintf("%s refuses us: it may expect another AS than our %d, or another router has our router ID %s; its log says which", p.Address, p.MyASN, p.RouterID)
}

// listener reads the log of the server: why a session cannot be set up is told
// nowhere else.
type listener struct{ session *session }

// Enabled wants all: the failure to connect is told at the level of debugging.
func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs and WithGroup: what a record is about is known.
func (l *listener) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *listener) WithGroup(string) slog.Handler      { return l }

// Handle never fails.
func (l *listener) Handle(_ context.Context, r slog.Record) error {
	s := l.session
	switch r.Message {
	case "failed to connect":
		s.failed(s.peer.unconnected(attr(r, "Error").String()))
	case "outgoing connection IO error":
		s.failed(fmt.Sprintf("%s has closed the connection at once: does the router know this node as a neighbour?", s.peer.Address))
	case "sent notification":
		s.failed(s.peer.refused(attr(r, "Code").Int64(), attr(r, "Subcode").Int64()))
	case "hold timer expired":
		s.silent(fmt.Sprintf("%s was silent for the hold-time, %s or what it asked for", s.peer.Address, s.peer.HoldTime))
	default:
		level := slog.LevelDebug
		if r.Level >= slog.LevelWarn && !s.isClosed() {
			level = r.Level
		}
		s.log.Log(context.Background(), level, "GoBGP: "+r.Message, "error", attr(r, "Error"))
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
