package speaker

import (
	"context"
	"errors"
	"fmt"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// witness asks somebody who is no speaker whether this node's network works in
// both directions: the gateway, which is asked by ARP on its own link, and the API
// server. One of them is enough.
func (s *Speaker) witness(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, 2)
	s.work.Go(func() { answers <- s.askGateway(ctx) })
	s.work.Go(func() { answers <- s.askAPI(ctx) })
	first := <-answers
	if first == nil {
		return nil
	}
	second := <-answers
	if second == nil {
		return nil
	}
	return errors.Join(first, second)
}

func (s *Speaker) askGateway(ctx context.Context) error {
	ls, err := links.List(s.options.ExcludeInterfaces)
	if err != nil {
		return err
	}
	gateway, index, err := links.Gateway()
	if err != nil {
		return err
	}
	for _, l := range ls {
		if l.Index == index {
			return layer2.Ask(ctx, layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}, l.IPv4.Addr(), gateway)
		}
	}
	return fmt.Errorf("gateway %s is on no link that is announced on", gateway)
}

func (s *Speaker) askAPI(ctx context.Context) error {
	if _, err := s.options.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	return nil
}
