package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
)

const (
	// objectsInterval is how often the objects of the API server are read. The programs are asked
	// more often, because they say first what has moved.
	objectsInterval = 5 * time.Second
	// objectsTimeout is how long the API server may take for that.
	objectsTimeout = 10 * time.Second
	// patience is how long a look waits for the programs that it asks. It goes on with what a
	// program said before if the program takes longer.
	patience = time.Second
)

// uiSource says to the page what "status" and "explain" say.
type uiSource struct {
	options *options
	client  kubernetes.Interface
	asker   *asker

	// objects is what the API server said last, without what the programs say.
	objects diagnose.Input
	readAt  time.Time

	mu   sync.Mutex
	last *diagnose.Input // what Explain explains
}

func newUISource(ctx context.Context, o *options, client kubernetes.Interface, ports podPorts) *uiSource {
	return &uiSource{options: o, client: client, asker: newAsker(ctx, ports)}
}

// wait waits until no program is asked any more. The context of the source must have ended.
func (s *uiSource) wait() { s.asker.work.Wait() }

// Look implements ui.Source.
func (s *uiSource) Look(ctx context.Context) (ui.Report, error) {
	if time.Since(s.readAt) >= objectsInterval {
		if err := s.readObjects(ctx); err != nil {
			return ui.Report{}, err
		}
	}
	in := s.objects
	in.Now, in.Speakers, in.Managers = time.Now(), slices.Clone(in.Speakers), slices.Clone(in.Managers)
	forgetDead(&in, s.asker.ask(ctx, &in))
	s.mu.Lock()
	s.last = &in
	s.mu.Unlock()
	return reportOf(&in), nil
}

func (s *uiSource) readObjects(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, objectsTimeout)
	defer cancel()
	objects, err := s.options.findPrograms(ctx, s.client)
	if err != nil {
		return err
	}
	readObjects(ctx, s.client, s.options, objects)
	s.objects, s.readAt = *objects, time.Now()
	return nil
}

// Explain implements ui.Source.
func (s *uiSource) Explain(_ context.Context, addr netip.Addr) (string, error) {
	s.mu.Lock()
	in := s.last
	s.mu.Unlock()
	if in == nil {
		return "", fmt.Errorf("nothing is known about the cluster yet: try again in a second")
	}
	var text strings.Builder
	// Whether there are problems is part of the text, and the text is written to memory.
	_ = printExplanation(&text, formatTable, diagnose.ExplainAddress(in, addr.Unmap()))
	return text.String(), nil
}

// forgetDead takes away what a speaker said before, if it is late and no other speaker hears it. That is
// not true any more, because another node has taken its addresses over. late has the names of pods.
func forgetDead(in *diagnose.Input, late map[string]bool) {
	asked, heard := 0, map[string]bool{}
	for _, s := range in.Speakers {
		if late[s.Pod.Name] || s.Members == nil {
			continue
		}
		asked++
		for _, m := range s.Members.Members {
			heard[m.Name] = heard[m.Name] || m.Alive
		}
	}
	for i, s := range in.Speakers {
		if late[s.Pod.Name] && s.Problem == "" && asked > 0 && !heard[s.Node()] {
			in.Speakers[i] = diagnose.Speaker{Pod: s.Pod, Problem: "it takes long to answer, and no other speaker hears it"}
		}
	}
}

// reportOf returns what the page shows.
func reportOf(in *diagnose.Input) ui.Report {
	status := diagnose.StatusOf(in)
	r := ui.Report{Time: in.Now}
	for _, s := range status.Speakers {
		if s.Pod == "" {
			r.Speakers = append(r.Speakers, ui.Speaker{Node: s.Node, Missing: true, Err: s.Why})
		}
	}
	for _, s := range in.Speakers {
		r.Speakers = append(r.Speakers, ui.Speaker{Node: s.Node(), Err: s.Problem, Plan: s.Plan, BGP: s.BGP, Members: s.Members})
	}
	for _, m := range in.Managers {
		if m.Allocations != nil && m.Allocations.Leader {
			r.Allocations = m.Allocations
		}
	}
	for _, p := range status.Problems {
		r.Problems = append(r.Problems, ui.Problem{Severity: string(p.Severity), Where: p.Where, What: p.What, Do: p.Do})
	}
	return r
}
