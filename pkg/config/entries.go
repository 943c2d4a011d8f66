package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// entry is a key of a mapping and its value.
type entry struct {
	key    string
	at     *yaml.Node // the key
	value  *yaml.Node
	merged bool // came from a merge key
}

// entries are the entries of a mapping, each key once.
type entries struct {
	all   []entry
	index map[string]int // by key: the place in all; nil while there are few
}

// find returns the place of the key, or -1.
func (e *entries) find(key string) int {
	if e.index == nil {
		return slices.IndexFunc(e.all, func(e entry) bool { return e.key == key })
	}
	if i, ok := e.index[key]; ok {
		return i
	}
	return -1
}

// set adds an entry, or replaces the entry with the same key.
func (e *entries) set(added entry) {
	if i := e.find(added.key); i >= 0 {
		e.all[i] = added
		return
	}
	e.all = append(e.all, added)
	if e.index != nil {
		e.index[added.key] = len(e.all) - 1
		return
	}
	if len(e.all) > maxFew {
		e.index = make(map[string]int, cap(e.all))
		for i := range e.all {
			e.index[e.all[i].key] = i
		}
	}
}

// at returns the key, or another node if the text does not have the key.
func (e *entries) at(key string, otherwise *yaml.Node) *yaml.Node {
	if i := e.find(key); i >= 0 {
		return e.all[i].at
	}
	return otherwise
}
