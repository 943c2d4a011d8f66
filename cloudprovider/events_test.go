package cloudprovider

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/record"
)

// The recorder holds 1000 Events and drops all further ones. Of one object and reason only
// the last Event counts.
func TestEventWriterKeepsTheOrderAndLimitsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		recorder := record.NewFakeRecorder(n)
		w := newEventWriter(recorder)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range n {
			w.Eventf(svc(fmt.Sprint("s", i), 0), "Normal", "Test", "old")
			w.Eventf(svc(fmt.Sprint("s", i), 0), "Normal", "Test", "%d", i) // takes the place of the one before
		}
		go w.run(ctx)
		time.Sleep(10*eventEvery + eventEvery/2)
		if got := len(recorder.Events); got != 11 {
			t.Errorf("%d Events after %v", got, 10*eventEvery)
		}
		time.Sleep(n * eventEvery)
		for i := range n {
			if got, want := <-recorder.Events, fmt.Sprint("Normal Test ", i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		w.Eventf(svc("a", 0), "Normal", "Test", "later")
		synctest.Wait()
		if len(recorder.Events) != 1 {
			t.Error("an Event after the burst is not written")
		}
		cancel()
	})
}
