package spread

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// fakeKernel has the tables, and notes what it is told. It fails where the kernel fails.
type fakeKernel struct {
	mu     sync.Mutex
	calls  []string
	fails  map[string]error // by method
	exists bool
	alive  bool
	has    elements
	flows  map[int]flows // by number
}

// call notes a call. It runs the transaction, which changes nothing if it fails.
func (k *fakeKernel) call(method, text string, transaction func(*fakeKernel) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, text)
	if err := k.fails[method]; err != nil {
		return err
	}
	after := &fakeKernel{exists: k.exists, alive: k.alive, has: maps.Clone(k.has), flows: maps.Clone(k.flows)}
	if err := transaction(after); err != nil {
		return err
	}
	k.exists, k.alive, k.has, k.flows = after.exists, after.alive, after.has, after.flows
	return nil
}

func (k *fakeKernel) fail(method string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails = map[string]error{method: err}
}

// flush is what another program does. expire is what the kernel does at the end of the lifetime.
func (k *fakeKernel) flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clear()
}

func (k *fakeKernel) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.alive = false
}

func (k *fakeKernel) clear() {
	k.exists, k.alive, k.has, k.flows = false, false, elements{}, map[int]flows{}
}

// said returns the calls since the last time.
func (k *fakeKernel) said() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	calls := k.calls
	k.calls = nil
	return slices.DeleteFunc(calls, func(c string) bool { return c == "check" })
}

// count returns how many elements a set has.
func (k *fakeKernel) count(set setName) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.has[set])
}

func (k *fakeKernel) isAlive() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.alive
}

func (k *fakeKernel) check() error {
	return k.call("check", "check", func(*fakeKernel) error { return nil })
}

func (k *fakeKernel) remove() error {
	return k.call("remove", "remove", func(k *fakeKernel) error { k.clear(); return nil })
}

func (k *fakeKernel) refresh() error {
	return k.call("refresh", "refresh", func(k *fakeKernel) error {
		if !k.alive {
			return fmt.Errorf("removing the elements of alive: %w", unix.ENOENT)
		}
		return nil
	})
}

func (k *fakeKernel) replace(r *ruleset) error {
	return k.call("replace", "replace", func(k *fakeKernel) error {
		k.clear()
		k.exists, k.alive = true, true
		for _, f := range r.flows {
			if err := k.addFlows(f); err != nil {
				return err
			}
		}
		return k.addElements(r.elements)
	})
}

func (k *fakeKernel) change(d difference) error {
	text := fmt.Sprintf("change -%d +%d", total(d.remove), total(d.add))
	if len(d.gone)+len(d.fresh) > 0 {
		text += fmt.Sprintf(", flows -%d +%d", len(d.gone), len(d.fresh))
	}
	if len(d.rings) > 0 {
		text += fmt.Sprintf(", rings %d", len(d.rings))
	}
	return k.call("change", text, func(k *fakeKernel) error {
		if !k.exists {
			return fmt.Errorf("no table: %w", unix.ENOENT)
		}
		for _, f := range d.fresh {
			if err := k.addFlows(f); err != nil {
				return err
			}
		}
		for _, f := range d.rings {
			if old, ok := k.flows[f.number]; !ok || !old.sharesSets(f) {
				return fmt.Errorf("no chain of %+v: %w", f, unix.ENOENT)
			}
			k.flows[f.number] = f
		}
		if err := k.removeElements(d.remove); err != nil {
			return err
		}
		if err := k.addElements(d.add); err != nil {
			return err
		}
		for _, f := range d.gone {
			if err := k.removeFlows(f); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *fakeKernel) addFlows(f flows) error {
	if _, ok := k.flows[f.number]; ok {
		return fmt.Errorf("the chain %s: %w", f.chain(), unix.EEXIST)
	}
	k.flows[f.number] = f
	return nil
}

func (k *fakeKernel) removeFlows(f flows) error {
	if old, ok := k.flows[f.number]; !ok || old != f {
		return fmt.Errorf("the chain of %+v: %w", f, unix.ENOENT)
	}
	for name, all := range k.has {
		if slices.ContainsFunc(all, func(e element) bool { return e.chain == f.chain() }) {
			return fmt.Errorf("the chain %s is in the set %v: %w", f.chain(), name, unix.EBUSY)
		}
	}
	delete(k.flows, f.number)
	for _, s := range f.sets() {
		delete(k.has, setName{s.family, s.name})
	}
	return nil
}

func (k *fakeKernel) removeElements(remove elements) error {
	for name, gone := range remove {
		for _, e := range gone {
			if !slices.Contains(k.has[name], e) {
				return fmt.Errorf("the element %+v of the set %v: %w", e, name, unix.ENOENT)
			}
		}
		if k.has[name] = without(k.has[name], gone); len(k.has[name]) == 0 {
			delete(k.has, name)
		}
	}
	return nil
}

func (k *fakeKernel) addElements(add elements) error {
	sets, chains := map[setName]bool{}, map[string]bool{}
	for _, f := range k.flows {
		chains[f.chain()] = true
		for _, s := range f.sets() {
			sets[setName{s.family, s.name}] = true
		}
	}
	for name, fresh := range add {
		if isSlots := name.name[:4] == "slot" || name.name[:4] == "next"; isSlots && !sets[name] {
			return fmt.Errorf("the set %v: %w", name, unix.ENOENT)
		}
		has := map[string]bool{}
		for _, e := range k.has[name] {
			has[e.key] = true
		}
		for _, e := range fresh {
			if has[e.key] {
				return fmt.Errorf("the element %+v of the set %v: %w", e, name, unix.EEXIST)
			}
			if e.chain != "" && !chains[e.chain] {
				return fmt.Errorf("the element %+v of the set %v: no chain: %w", e, name, unix.ENOENT)
			}
			has[e.key] = true
		}
		k.has[name] = slices.SortedFunc(slices.Values(slices.Concat(k.has[name], fresh)), element.compare)
	}
	return nil
}
