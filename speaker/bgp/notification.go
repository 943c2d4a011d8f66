package bgp

import (
	"fmt"
	"regexp"
	"strconv"
)

// gobgpCode matches what GoBGP writes about a NOTIFICATION.
var gobgpCode = regexp.MustCompile(`code (\d+)\([^)]*\) subcode (\d+)\(`)

// codeOf returns the code and the subcode in a text of GoBGP.
func codeOf(text string) (code, subcode int64, ok bool) {
	match := gobgpCode.FindStringSubmatch(text)
	if match == nil {
		return 0, 0, false
	}
	code, err := strconv.ParseInt(match[1], 10, 16)
	if err != nil {
		return 0, 0, false
	}
	subcode, err = strconv.ParseInt(match[2], 10, 16)
	return code, subcode, err == nil
}

// notification is the name of a code of a NOTIFICATION, and the names of its subcodes.
type notification struct {
	name     string
	subcodes []string // from 1 on
}

// notifications has the codes that IANA has assigned ("BGP Error (Notification) Codes"), from
// 1 on: RFC 4271 section 4.5, RFC 4486 and 9384 (Cease), RFC 5492, RFC 6608, RFC 7313 and
// RFC 8538. GoBGP's own texts leave out the newer ones.
var notifications = []notification{
	{"message header error", []string{"connection not synchronized", "bad message length", "bad message type"}},
	{"OPEN message error", []string{"unsupported version number", "bad peer AS", "bad BGP identifier", "unsupported optional parameter", "authentication failure", "unacceptable hold time", "unsupported capability", "deprecated", "deprecated", "deprecated", "role mismatch"}},
	{"UPDATE message error", []string{"malformed attribute list", "unrecognized well-known attribute", "missing well-known attribute", "attribute flags error", "attribute length error", "invalid ORIGIN attribute", "routing loop", "invalid NEXT_HOP attribute", "optional attribute error", "invalid network field", "malformed AS_PATH"}},
	{"hold timer expired", nil},
	{"finite state machine error", []string{"unexpected message in OpenSent", "unexpected message in OpenConfirm", "unexpected message in Established"}},
	{"Cease", []string{"maximum number of prefixes reached", "administrative shutdown", "peer de-configured", "administrative reset", "connection rejected", "other configuration change", "connection collision resolution", "out of resources", "hard reset", "BFD down"}},
	{"ROUTE-REFRESH message error", []string{"invalid message length"}},
	{"send hold timer expired", nil},
}

// inWords returns what a NOTIFICATION says.
func inWords(code, subcode int64) string {
	numbers := fmt.Sprintf("(code %d, subcode %d)", code, subcode)
	if code < 1 || code > int64(len(notifications)) {
		return "unknown reason " + numbers
	}
	n := notifications[code-1]
	if subcode < 1 || subcode > int64(len(n.subcodes)) {
		return n.name + " " + numbers
	}
	return n.name + ", " + n.subcodes[subcode-1] + " " + numbers
}

// advice says what an operator can do about some NOTIFICATIONs of a router.
var advice = map[[2]int64]string{
	{4, 0}:  "the router heard nothing from this node; check the path",
	{6, 1}:  "this node advertises more prefixes than the router accepts; raise the limit there, or use aggregation-length",
	{6, 2}:  "this neighbour is switched off on the router",
	{6, 3}:  "this node was removed from the neighbours of the router",
	{6, 4}:  "the session was cleared on the router",
	{6, 5}:  "the router does not accept this node now; see its log",
	{6, 8}:  "the router has no room for the session",
	{6, 10}: "the router has lost its BFD session with this node; check the path",
}

// received explains what a router says in a NOTIFICATION. text is GoBGP's.
func received(text string) string {
	code, subcode, ok := codeOf(text)
	if !ok {
		return text
	}
	words := inWords(code, subcode)
	if a, ok := advice[[2]int64{code, subcode}]; ok {
		return words + ": " + a
	}
	return words
}

// sent explains a NOTIFICATION of this node. text is GoBGP's.
func sent(text string) string {
	if code, subcode, ok := codeOf(text); ok {
		return inWords(code, subcode)
	}
	return text
}
