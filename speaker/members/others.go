package members

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Others returns all other members, lost ones included, in alphabetical order.
func (m *Members) Others() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	others := slices.Collect(maps.Values(m.others))
	slices.SortFunc(others, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return others
}

// announcing counts the members that are alive and can announce.
func (m *Members) announcing() (n int) {
	if !m.self.Load().Fenced {
		n = 1
	}
	for _, other := range m.Others() {
		if !other.Lost && !other.Profile.Fenced && !other.Profile.Leaving {
			n++
		}
	}
	return n
}

// update is called when a member has joined or has changed its profile.
func (m *Members) update(n *memberlist.Node, joined bool) {
	if n.Name == m.options.Name {
		return
	}
	profile, err := decode(n.Meta)
	if err != nil {
		m.options.Log.Error("a speaker has another version, it is not elected", "node", n.Name, "error", err)
		profile = Profile{Fenced: true}
	}
	m.mu.Lock()
	before := m.others[n.Name]
	if joined && before.Lost {
		m.returned.Add(1)
	}
	now := Member{Name: n.Name, Addr: toAddr(n.Addr), Profile: profile}
	m.others[n.Name] = now
	delete(m.displaced, n.Name)
	m.mu.Unlock()
	if before.Addr != now.Addr {
		m.guard.outdate()
	}
	m.options.Changed()
}

// died is called when a member has left or died.
func (m *Members) died(name string) {
	if m.remove(name) {
		m.options.Log.Info("speaker left", "node", name)
		return
	}
	m.options.Log.Info("speaker died", "node", name)
}

// remove drops a member that has left, and marks one that has died as lost. It reports
// whether it left.
func (m *Members) remove(name string) (left bool) {
	if name == m.options.Name {
		return true
	}
	m.mu.Lock()
	other := m.others[name]
	if left = other.Profile.Leaving; left {
		delete(m.others, name)
	} else {
		other.Lost = true
		m.others[name] = other
	}
	m.mu.Unlock()
	if addr, ok := m.options.Addresses()[name]; ok && addr != other.Addr {
		m.LookFor(name)
		m.search.Set() // it may have come back with another address, and can take its place now
	}
	m.options.Changed()
	return left
}

// Forget drops a lost member that is not expected to come back.
func (m *Members) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.others[name].Lost {
		delete(m.others, name)
		delete(m.displaced, name)
	}
}
