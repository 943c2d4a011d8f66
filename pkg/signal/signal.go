// Package signal wakes a goroutine that waits for something to do. Several wake-ups
// before the goroutine receives one count as one.
package signal

// Signal is a wake-up for one goroutine. Any goroutine may set it.
type Signal struct{ c chan struct{} }

// New returns a Signal that is not set.
func New() Signal { return Signal{make(chan struct{}, 1)} }

// Set sets the signal. It never blocks.
func (s Signal) Set() {
	select {
	case s.c <- struct{}{}:
	default: // it is set already
	}
}

// C returns the channel to wait on. A receive clears the signal.
func (s Signal) C() <-chan struct{} { return s.c }
