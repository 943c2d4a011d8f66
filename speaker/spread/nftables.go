package spread

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// tables is the kernel.
type tables struct{}

func (tables) check() error {
	var t transaction
	probe := &ruleset{links: []link{{name: "lo", index: 1, ipv4: true, ipv6: true}}, flows: []flows{{number: 1, index: 1}, {number: 2, index: 1, kind: kind{ipv6: true}}}}
	t.table = TableName + "-check"
	t.addTables(probe)
	for _, c := range probe.chains() {
		c.hook = nil // the rules have no effect
		t.addChain(c)
	}
	t.deleteTables()
	return t.send("checking the expressions of nftables")
}

func (tables) replace(r *ruleset) error {
	t := transaction{table: TableName}
	t.clear()
	t.addTables(r)
	for _, c := range r.chains() {
		t.addChain(c)
	}
	t.setElements(unix.NFT_MSG_NEWSETELEM, r.elements, 0)
	return t.send("writing the tables")
}

// change writes the new flows before the elements that go to them, and removes the others after
// those.
func (tables) change(d difference) error {
	t := transaction{table: TableName}
	for _, f := range d.fresh {
		for _, s := range f.sets() {
			t.addSet(s)
		}
		for _, c := range f.chains() {
			t.addChain(c)
		}
	}
	for _, f := range d.rings {
		t.replaceRules(f.handOnChain())
	}
	t.setElements(unix.NFT_MSG_DELSETELEM, d.remove, 0)
	t.setElements(unix.NFT_MSG_NEWSETELEM, d.add, 0)
	for _, f := range d.gone {
		for _, c := range f.chains() {
			t.deleteChain(c)
		}
		for _, s := range f.sets() {
			t.deleteSet(s)
		}
	}
	return t.send("changing the tables")
}

func (tables) refresh() error {
	t := transaction{table: TableName}
	// Kernels before 6.12 do not change the timeout of an element that exists.
	t.setElements(unix.NFT_MSG_DELSETELEM, aliveElements(), 0)
	t.setElements(unix.NFT_MSG_NEWSETELEM, aliveElements(), lifetime)
	return t.send("refreshing the tables")
}

func (tables) isAlive() bool {
	conn, err := nftables.New()
	if err != nil {
		return false
	}
	// All tables are written at once, so one of them says it for all.
	elements, err := conn.GetSetElements(&nftables.Set{Table: &nftables.Table{Name: TableName, Family: nftables.TableFamilyIPv4}, Name: alive})
	return err == nil && len(elements) > 0
}

func (tables) remove() error {
	t := transaction{table: TableName}
	t.clear()
	return t.send("removing the tables")
}
