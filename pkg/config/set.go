package config

import "slices"

// maxFew is up to how many elements a search from the first to the last needs less time
// and memory than a map.
const maxFew = 16

// set is a set of values. The zero value is empty.
type set[T comparable] struct {
	few  []T
	many map[T]bool // in use when there are more than maxFew
}

// add reports whether v is new.
func (s *set[T]) add(v T) bool {
	if s.many == nil && len(s.few) < maxFew {
		if slices.Contains(s.few, v) {
			return false
		}
		s.few = append(s.few, v)
		return true
	}
	if s.many == nil {
		s.many = make(map[T]bool, 2*maxFew)
		for _, old := range s.few {
			s.many[old] = true
		}
	}
	if s.many[v] {
		return false
	}
	s.many[v] = true
	return true
}
