package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// measureConditions does what measure does while a speaker announces the Services. It also
// prints how often a Service is written, which every watch of Services sees.
func measureConditions(ctx context.Context, env cluster.Env, services, clients int) error {
	c, _, err := start(ctx, env, pools)
	if err != nil {
		return err
	}
	defer c.Close()
	speaker := c.Nodes()[0]
	if err := speaker.StartSpeaker(ctx); err != nil {
		return err
	}
	if err := speaker.WaitReady(ctx); err != nil {
		return err
	}
	watching, err := c.Client.CoreV1().Services("default").Watch(ctx, metav1.ListOptions{LabelSelector: "burst=burst"})
	if err != nil {
		return err
	}
	defer watching.Stop()
	counted := make(chan writesOfServices, 1)
	go func() { counted <- count(watching.ResultChan(), services) }()
	fmt.Printf("%d Services, %d clients, a speaker, %d CPUs, %s\n", services, clients, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if err := burst(ctx, c.Client, "burst", services, clients, func(text string) { fmt.Println(text) }); err != nil {
		return err
	}
	select {
	case w := <-counted:
		fmt.Printf("writes of a Service after its creation: %.2f; the last one was announced %v after the first was created\n", float64(w.modified)/float64(services), w.took.Round(time.Millisecond))
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("not all Services were announced within 5 minutes")
	}
	return nil
}

// writesOfServices are the writes of Services that a watch has seen.
type writesOfServices struct {
	modified int
	took     time.Duration // from the first creation until all Services were announced
}

// count reads a watch until all Services have the condition Announced, and three seconds
// longer, to see writes that should not happen.
func count(events <-chan watch.Event, services int) (w writesOfServices) {
	var first time.Time
	announced := map[string]bool{}
	for {
		select {
		case e, ok := <-events:
			s, isService := e.Object.(*v1.Service)
			if !ok || !isService {
				return w
			}
			if first.IsZero() {
				first = time.Now()
			}
			if e.Type == watch.Modified {
				w.modified++
			}
			if meta.IsStatusConditionTrue(s.Status.Conditions, "lb.baremetal/Announced") && !announced[s.Name] {
				announced[s.Name] = true
				w.took = time.Since(first)
			}
		case <-time.After(3 * time.Second):
			if len(announced) == services {
				return w
			}
		}
	}
}
