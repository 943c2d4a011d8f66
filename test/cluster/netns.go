package cluster

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetns calls f in a network namespace. Sockets that f opens stay in that namespace. The
// goroutine stays locked to its thread, so Go ends the thread with the goroutine and never
// runs other code in the namespace.
func inNetns(name string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + name)
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering network namespace %s: %w", name, err)
			return
		}
		result <- f()
	}()
	return <-result
}
