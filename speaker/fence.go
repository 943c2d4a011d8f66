package speaker

// fence keeps a speaker silent that has been without a link. It has heard nobody
// then and believes to be alone, so that it would announce everything; when a
// link comes back it has to look for the others first.
type fence struct {
	cutOff bool
	// rejoined is closed when the others have been looked for; nil until that has
	// been begun.
	rejoined <-chan struct{}
}

// open reports whether the speaker may announce. rejoin begins to look for the
// others.
func (f *fence) open(haveLink bool, rejoin func() <-chan struct{}) bool {
	if !haveLink {
		f.cutOff, f.rejoined = true, nil
		return false
	}
	if !f.cutOff {
		return true
	}
	if f.rejoined == nil {
		f.rejoined = rejoin()
	}
	select {
	case <-f.rejoined:
		f.cutOff, f.rejoined = false, nil
		return true
	default:
		return false
	}
}
