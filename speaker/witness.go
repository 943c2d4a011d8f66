package speaker

import (
	"context"
	"fmt"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// witness asks somebody who is no speaker whether this node's network works in
// both directions: the gateway, by ARP on its own link, if there is one on a link
// that is announced on; else the API server, which may be near although the link is
// dead.
func (s *Speaker) witness(ctx context.Context) error {
	ls, err := links.List(s.options.ExcludeInterfaces)
	if err != nil {
		return err
	}
	if gateway, index, err := links.Gateway(); err == nil {
		for _, l := range ls {
			if l.Index == index {
				return layer2.Ask(ctx, layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}, l.IPv4.Addr(), gateway)
			}
		}
	}
	return s.askAPI(ctx)
}

func (s *Speaker) askAPI(ctx context.Context) error {
	if _, err := s.options.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	return nil
}
