package spread

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// This file writes the tables by netlink. The library github.com/google/nftables, which the rest of
// the project uses, has no expression "fwd" and none can be added to it. Its encoding of the other
// expressions is used here.

const (
	// timeout is how long the kernel may take for its answer.
	timeout = 10 * time.Second
	// socketBuffer is the number of bytes that a transaction may have.
	socketBuffer = 64 << 20
	// perMessage is how many elements a message has: its length must fit into 16 bits, and
	// an element needs at most 100 bytes.
	perMessage = 400
)

// forward is the expression "fwd ip to": it sends the frame to another host of a link. Both registers
// hold values: the index of the link, and the address of the host.
// It is nft_fwd_neigh_eval in net/netfilter/nft_fwd_netdev.c.
type forward struct {
	device, addr uint32
	family       byte
}

// The attributes of "fwd": enum nft_fwd_attributes in include/uapi/linux/netfilter/nf_tables.h.
const (
	fwdDevice = 1
	fwdAddr   = 2
	fwdFamily = 3
)

func (f forward) marshal() ([]byte, error) {
	data, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: fwdDevice, Data: be(f.device)}, {Type: fwdAddr, Data: be(f.addr)}, {Type: fwdFamily, Data: be(uint32(f.family))},
	})
	if err != nil {
		return nil, err
	}
	return netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_EXPR_NAME, Data: []byte("fwd\x00")},
		{Type: unix.NLA_F_NESTED | unix.NFTA_EXPR_DATA, Data: data},
	})
}

func marshalExpression(family byte, e expression) ([]byte, error) {
	if f, ok := e.(forward); ok {
		return f.marshal()
	}
	return expr.Marshal(family, e.(expr.Any))
}

func be(n uint32) []byte { return binaryutil.BigEndian.PutUint32(n) }

// transaction collects messages. The first error is returned by send.
type transaction struct {
	table    string
	messages []netlink.Message
	sets     uint32
	err      error
}

var allFamilies = []byte{netdev, ip4, ip6}

// clear removes the tables if they exist.
func (t *transaction) clear() {
	for _, family := range allFamilies {
		t.add(unix.NFT_MSG_NEWTABLE, family, attr(unix.NFTA_TABLE_NAME, text(t.table))) // so that the next line does not fail
	}
	t.deleteTables()
}

func (t *transaction) deleteTables() {
	for _, family := range allFamilies {
		t.add(unix.NFT_MSG_DELTABLE, family, attr(unix.NFTA_TABLE_NAME, text(t.table)))
	}
}

// addTables adds the tables with their sets and the elements that never change.
func (t *transaction) addTables(r *ruleset) {
	for _, family := range allFamilies {
		t.add(unix.NFT_MSG_NEWTABLE, family, attr(unix.NFTA_TABLE_NAME, text(t.table)))
	}
	for _, s := range r.sets() {
		t.addSet(s)
	}
	t.setElements(unix.NFT_MSG_NEWSETELEM, constants(), 0)
	t.setElements(unix.NFT_MSG_NEWSETELEM, aliveElements(), lifetime)
}

func (t *transaction) addSet(s set) {
	t.sets++
	var flags uint32
	attrs := []netlink.Attribute{
		attr(unix.NFTA_SET_TABLE, text(t.table)), attr(unix.NFTA_SET_NAME, text(s.name)), attr(unix.NFTA_SET_ID, be(t.sets)),
		attr(unix.NFTA_SET_KEY_TYPE, be(s.key.magic)), attr(unix.NFTA_SET_KEY_LEN, be(s.key.length)),
	}
	if s.data != nil {
		flags |= unix.NFT_SET_MAP
		attrs = append(attrs, attr(unix.NFTA_SET_DATA_TYPE, be(s.data.magic)), attr(unix.NFTA_SET_DATA_LEN, be(s.data.length)))
	}
	if s.goTo {
		flags |= unix.NFT_SET_MAP
		attrs = append(attrs, attr(unix.NFTA_SET_DATA_TYPE, be(unix.NFT_DATA_VERDICT)), attr(unix.NFTA_SET_DATA_LEN, be(0)))
	}
	if s.expires {
		flags |= unix.NFT_SET_TIMEOUT
	}
	if s.counts {
		attrs = append(attrs, t.nested(setExpr, attr(unix.NFTA_EXPR_NAME, text("counter"))))
	}
	if s.key == mark { // nft shows the number as this machine has it
		attrs = append(attrs, attr(unix.NFTA_SET_USERDATA, userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, 1)))
	}
	t.add(unix.NFT_MSG_NEWSET, s.family, append(attrs, attr(unix.NFTA_SET_FLAGS, be(flags)))...)
}

func (t *transaction) deleteSet(s set) {
	t.add(unix.NFT_MSG_DELSET, s.family, attr(unix.NFTA_SET_TABLE, text(t.table)), attr(unix.NFTA_SET_NAME, text(s.name)))
}

// deleteChain removes a chain with its rules.
func (t *transaction) deleteChain(c chain) {
	t.add(unix.NFT_MSG_DELCHAIN, c.family, attr(unix.NFTA_CHAIN_TABLE, text(t.table)), attr(unix.NFTA_CHAIN_NAME, text(c.name)))
}

// setExpr is NFTA_SET_EXPR of enum nft_set_attributes.
const setExpr = 17

// goToVerdict is NFT_GOTO, -4.
const goToVerdict = ^uint32(3)

// setElements adds or removes elements. A lifetime of 0 is endless.
func (t *transaction) setElements(kind uint16, all elements, lifetime time.Duration) {
	for _, name := range slices.SortedFunc(maps.Keys(all), setName.compare) {
		for part := range slices.Chunk(all[name], perMessage) {
			var encoded []netlink.Attribute
			for _, e := range part {
				attrs := []netlink.Attribute{t.nested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(e.key)))}
				if e.data != "" {
					attrs = append(attrs, t.nested(unix.NFTA_SET_ELEM_DATA, attr(unix.NFTA_DATA_VALUE, []byte(e.data))))
				}
				if e.chain != "" {
					verdict := t.nested(unix.NFTA_DATA_VERDICT, attr(unix.NFTA_VERDICT_CODE, be(goToVerdict)), attr(unix.NFTA_VERDICT_CHAIN, text(e.chain)))
					attrs = append(attrs, t.nested(unix.NFTA_SET_ELEM_DATA, verdict))
				}
				if lifetime > 0 {
					attrs = append(attrs, attr(unix.NFTA_SET_ELEM_TIMEOUT, binaryutil.BigEndian.PutUint64(uint64(lifetime.Milliseconds()))))
				}
				encoded = append(encoded, t.nested(unix.NFTA_LIST_ELEM, attrs...))
			}
			t.add(kind, name.family,
				attr(unix.NFTA_SET_ELEM_LIST_TABLE, text(t.table)), attr(unix.NFTA_SET_ELEM_LIST_SET, text(name.name)),
				t.nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, encoded...))
		}
	}
}

func (t *transaction) addChain(c chain) {
	attrs := []netlink.Attribute{attr(unix.NFTA_CHAIN_TABLE, text(t.table)), attr(unix.NFTA_CHAIN_NAME, text(c.name))}
	if c.hook != nil {
		hook := []netlink.Attribute{attr(unix.NFTA_HOOK_HOOKNUM, be(*c.hook)), attr(unix.NFTA_HOOK_PRIORITY, be(uint32(c.priority)))}
		if c.device != "" {
			hook = append(hook, attr(unix.NFTA_HOOK_DEV, text(c.device)))
		}
		const policyAccept = 1
		attrs = append(attrs, t.nested(unix.NFTA_CHAIN_HOOK, hook...), attr(unix.NFTA_CHAIN_POLICY, be(policyAccept)), attr(unix.NFTA_CHAIN_TYPE, text("filter")))
	}
	t.add(unix.NFT_MSG_NEWCHAIN, c.family, attrs...)
	for _, r := range c.rules {
		t.addRule(c, r)
	}
}

// replaceRules replaces all rules of a chain that exists.
func (t *transaction) replaceRules(c chain) {
	t.add(unix.NFT_MSG_DELRULE, c.family, attr(unix.NFTA_RULE_TABLE, text(t.table)), attr(unix.NFTA_RULE_CHAIN, text(c.name)))
	for _, r := range c.rules {
		t.addRule(c, r)
	}
}

func (t *transaction) addRule(c chain, r rule) {
	var exprs []netlink.Attribute
	for _, e := range r.exprs {
		data, err := marshalExpression(c.family, e)
		t.note(err)
		exprs = append(exprs, attr(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, data))
	}
	attrs := []netlink.Attribute{attr(unix.NFTA_RULE_TABLE, text(t.table)), attr(unix.NFTA_RULE_CHAIN, text(c.name)), t.nested(unix.NFTA_RULE_EXPRESSIONS, exprs...)}
	if r.comment != "" {
		attrs = append(attrs, attr(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, r.comment)))
	}
	t.add(unix.NFT_MSG_NEWRULE, c.family, attrs...)
}

// add adds a message.
func (t *transaction) add(kind uint16, family byte, attrs ...netlink.Attribute) {
	flags := netlink.Request
	switch kind {
	case unix.NFT_MSG_NEWRULE:
		flags |= netlink.Create | netlink.Append
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWSETELEM:
		flags |= netlink.Create
	}
	data, err := netlink.MarshalAttributes(attrs)
	t.note(err)
	t.messages = append(t.messages, netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, data...),
	})
}

func (t *transaction) note(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *transaction) nested(kind uint16, attrs ...netlink.Attribute) netlink.Attribute {
	data, err := netlink.MarshalAttributes(attrs)
	t.note(err)
	return attr(unix.NLA_F_NESTED|kind, data)
}

func attr(kind uint16, data []byte) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: data}
}

func text(s string) []byte { return append([]byte(s), 0) }

// send carries the transaction out. All of it has an effect, or nothing.
func (t *transaction) send(what string) error {
	if t.err != nil {
		return fmt.Errorf("%s: %w", what, t.err)
	}
	if err := exchange(t.messages); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// exchange sends messages as one batch and waits for the answer to the last one. The kernel
// answers in order, and it always answers a message that has failed.
func exchange(messages []netlink.Message) (err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetWriteBuffer(socketBuffer); err != nil {
		return err
	}
	return exchangeOn(conn, messages)
}

// socket is a netlink.Conn.
type socket interface {
	SendMessages([]netlink.Message) ([]netlink.Message, error)
	SetDeadline(time.Time) error
	Receive() ([]netlink.Message, error)
}

// exchangeOn sends one batch, and reads the answer. The kernel carries the transaction out while it is sent, however long that
// takes, and the answer is there afterwards. So the deadline begins after that.
func exchangeOn(conn socket, messages []netlink.Message) error {
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	boundary := func(kind uint16) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
			Data:   []byte{0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	batch := append([]netlink.Message{boundary(unix.NFNL_MSG_BATCH_BEGIN)}, messages...)
	if _, err := conn.SendMessages(append(batch, boundary(unix.NFNL_MSG_BATCH_END))); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := conn.Receive()
	return err
}
