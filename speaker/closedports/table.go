package closedports

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
)

// TableName is the name of the table, of the family inet.
const TableName = "baremetal-closed-ports"

const (
	// timeout is how long the kernel may take for a transaction.
	timeout = 10 * time.Second
	// socketBuffer is the number of bytes that a transaction may have. The sets of 10,000
	// addresses need a tenth.
	socketBuffer = 16 << 20
	// perMessage is how many elements a message has: its length must fit into 16 bits, and
	// an element needs at most 64 bytes.
	perMessage = 500
)

// table writes the table by netlink.
type table struct{ answerPing bool }

// transaction collects messages with prepare, and sends them.
func (table) transaction(what string, prepare func(conn *nftables.Conn, t *nftables.Table) error) error {
	conn, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		if err := c.SetWriteBuffer(socketBuffer); err != nil {
			return err
		}
		if err := c.SetReadBuffer(socketBuffer); err != nil {
			return err
		}
		return c.SetDeadline(time.Now().Add(timeout))
	}))
	if err == nil {
		if err = prepare(conn, &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}); err == nil {
			err = conn.Flush()
		}
	}
	if err != nil {
		return fmt.Errorf("%s the table %s of nftables: %w", what, TableName, err)
	}
	return nil
}

func (t table) replace(c contents) error {
	return t.transaction("writing", func(conn *nftables.Conn, table *nftables.Table) error {
		conn.AddTable(table) // so that the next line does not fail
		conn.DelTable(table)
		conn.AddTable(table)
		for _, s := range sets(table) {
			if err := conn.AddSet(s, nil); err != nil {
				return err
			}
		}
		if err := eachSet(table, c, conn.SetAddElements); err != nil {
			return err
		}
		if err := conn.SetAddElements(setOf(table, alive), families()); err != nil {
			return err
		}
		for _, c := range chains(t.answerPing) {
			added := &nftables.Chain{Name: c.name, Table: table}
			if c.hook != nil {
				accept := nftables.ChainPolicyAccept
				added.Hooknum, added.Type, added.Priority, added.Policy = c.hook, c.kind, &c.order, &accept
			}
			conn.AddChain(added)
			for _, r := range c.rules {
				rule := &nftables.Rule{Table: table, Chain: added, Exprs: r.exprs}
				if r.comment != "" {
					rule.UserData = userdata.AppendString(nil, userdata.TypeComment, r.comment)
				}
				conn.AddRule(rule)
			}
		}
		return nil
	})
}

func (t table) change(remove, add contents) error {
	return t.transaction("changing", func(conn *nftables.Conn, table *nftables.Table) error {
		if err := eachSet(table, remove, conn.SetDeleteElements); err != nil {
			return err
		}
		return eachSet(table, add, conn.SetAddElements)
	})
}

func (t table) refresh() error {
	return t.transaction("refreshing", func(conn *nftables.Conn, table *nftables.Table) error {
		// Kernels before 6.12 do not change the timeout of an element that exists.
		conn.FlushSet(setOf(table, alive))
		return conn.SetAddElements(setOf(table, alive), families())
	})
}

func (t table) remove() error {
	return t.transaction("removing", func(conn *nftables.Conn, table *nftables.Table) error {
		conn.AddTable(table) // so that the next line does not fail
		conn.DelTable(table)
		return nil
	})
}

func setOf(t *nftables.Table, name string) *nftables.Set {
	all := sets(t)
	return all[slices.IndexFunc(all, func(s *nftables.Set) bool { return s.Name == name })]
}

// eachSet calls do for the elements of each set, as often as needed.
func eachSet(t *nftables.Table, c contents, do func(*nftables.Set, []nftables.SetElement) error) error {
	for _, s := range sets(t) {
		for elements := range slices.Chunk(c[s.Name], perMessage) {
			values := make([]nftables.SetElement, len(elements))
			for i, e := range elements {
				values[i] = nftables.SetElement{Key: []byte(e.key), IntervalEnd: e.end}
			}
			if err := do(s, values); err != nil {
				return err
			}
		}
	}
	return nil
}
