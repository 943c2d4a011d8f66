package spread

import (
	"slices"
	"time"
)

// keep begins the lifetime of the rules of the speaker before again, while this one does not know what is wanted.
func (s *Spreader) keep() {
	if s.wanted.Load() != nil || !s.Status().HandsOn {
		return
	}
	if s.kernel.refresh() != nil {
		isAlive := s.kernel.isAlive()
		s.update(func(st *Status) { st.HandsOn = isAlive })
	}
}

// apply brings the kernel to what is wanted, and reports whether that worked. With refresh it also
// begins the lifetime of the rules again.
func (s *Spreader) apply(refresh bool) (ok bool) {
	wanted := s.wanted.Load()
	if wanted == nil {
		s.keep()
		return true
	}
	installed := s.installed.Load()
	held := s.holdYoung(*wanted, installed, time.Now())
	want := held.rules(installed)
	if err := s.write(installed, want, refresh); err != nil {
		s.fail(err)
		return false
	}
	s.installed.Store(want)
	s.update(func(st *Status) { st.Problem, st.HasRules, st.HandsOn = "", true, true })
	if want.isEmpty() {
		s.active.Set(0)
		return true
	}
	s.active.Set(1)
	if installed == nil || installed.isEmpty() {
		s.log.Info("flows are spread over the nodes", "addresses", len(wanted.VIPs))
	}
	return true
}

// fail notes that the kernel did not take the rules. It keeps those that it has.
func (s *Spreader) fail(err error) {
	s.installed.Store(nil)
	s.active.Set(0)
	problem, isAlive := describe(err), s.kernel.isAlive()
	if problem != s.Status().Problem {
		s.log.Warn("flows cannot be spread, trying again", "error", err, "hint", hint(err))
	}
	s.update(func(st *Status) { st.Problem, st.HasRules, st.HandsOn = problem, false, isAlive })
}

// write changes the tables from installed to want. If that fails, for example because another
// program has removed them, it writes them anew.
func (s *Spreader) write(installed, want *ruleset, refresh bool) error {
	switch {
	case want.isEmpty() && installed != nil && installed.isEmpty():
		return nil
	case want.isEmpty():
		if err := s.kernel.remove(); !cannotHaveTables(err) {
			return err
		}
		return nil
	case installed == nil || !slices.Equal(installed.links, want.links):
		return s.kernel.replace(want)
	}
	var err error
	if d := installed.difference(want); !d.isEmpty() {
		err = s.kernel.change(d)
	}
	if err == nil && refresh {
		err = s.kernel.refresh()
	}
	if err == nil {
		return nil
	}
	s.repairs.Note(err)
	return s.kernel.replace(want)
}
