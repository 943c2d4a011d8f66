package main

import (
	"context"
	"sync"
	"time"
)

// managers keeps two cluster managers running, as a Deployment does. A cluster manager ends
// when it cannot renew its lease.
type managers struct {
	chaos *chaos

	mu   sync.Mutex
	held bool // none is started
}

const wantManagers = 2

// keep starts a cluster manager for each that has ended, until ctx ends.
func (m *managers) keep(ctx context.Context) error {
	for sleep(ctx, 500*time.Millisecond) {
		if err := m.start(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (m *managers) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.held && len(m.chaos.CCMs()) < wantManagers {
		p, err := m.chaos.StartCCM(ctx)
		if err != nil {
			return err
		}
		p.MayEnd()
	}
	return nil
}

// hold starts no cluster managers until release.
func (m *managers) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// kill kills all cluster managers.
func (m *managers) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.chaos.CCMs() {
		p.Kill()
	}
}

// release undoes hold, and waits until there is a leader.
func (m *managers) release(ctx context.Context) error {
	m.mu.Lock()
	m.held = false
	m.mu.Unlock()
	return m.chaos.Wait(ctx, "a leader of the cluster managers", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.chaos.Leader() != nil
	})
}
