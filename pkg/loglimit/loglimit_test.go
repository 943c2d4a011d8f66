package loglimit

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterCountsWhatItSuppresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(3)
		logged := 0
		for range 100 {
			if _, ok := l.Allow(); ok {
				logged++
			}
		}
		if logged != 3 {
			t.Errorf("%d lines in a minute", logged)
		}
		time.Sleep(time.Minute)
		if suppressed, ok := l.Allow(); !ok || suppressed != 97 {
			t.Errorf("after a minute: %v, %d suppressed", ok, suppressed)
		}
		if suppressed, ok := l.Allow(); !ok || suppressed != 0 {
			t.Errorf("the next one: %v, %d suppressed", ok, suppressed)
		}
	})
}
