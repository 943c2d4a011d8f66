package loglimit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterCountsWhatItSuppresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(3, time.Minute)
		logged := 0
		for range 100 {
			if _, ok := l.Allow("a"); ok {
				logged++
			}
		}
		if logged != 3 {
			t.Errorf("%d lines in a minute", logged)
		}
		if more, ok := l.Allow("b"); !ok || more != 0 {
			t.Errorf("another kind: %v, %d more", ok, more)
		}
		time.Sleep(time.Minute)
		if more, ok := l.Allow("a"); !ok || more != 97 {
			t.Errorf("after a minute: %v, %d more", ok, more)
		}
		if more, ok := l.Allow("a"); !ok || more != 0 {
			t.Errorf("the next one: %v, %d more", ok, more)
		}
	})
}

func TestLimiterRemembersFewKinds(t *testing.T) {
	l := New(1, time.Minute)
	allowed := 0
	for i := range 10 * MaxKinds {
		if _, ok := l.Allow(fmt.Sprint(i)); ok {
			allowed++
		}
	}
	if allowed != MaxKinds+1 {
		t.Errorf("%d kinds are allowed", allowed)
	}
}
