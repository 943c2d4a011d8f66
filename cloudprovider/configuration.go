package cloudprovider

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// configChanged uses a new configuration. A bad configuration is only reported.
func (c *Cloud) configChanged(state configmap.State) {
	c.metrics.configLoaded(state)
	if state.Config != nil {
		c.useConfig()
	}
	c.publish.Set()
	c.retryAll()
	switch {
	case state.Problem == nil:
		c.events.Eventf(state.Object, v1.EventTypeNormal, "ConfigLoaded", "In use: %s", Summary(state.Config))
		if warnings := state.Config.Warnings; len(warnings) > 0 {
			c.log.Warn("configuration valid, but probably not what you meant", "warnings", strings.Split(warnings.Error(), "\n"))
			c.events.Eventf(state.Object, v1.EventTypeWarning, "ConfigWarning", "%s", joined(strings.Split(warnings.Error(), "\n")))
		}
	case state.Object != nil:
		c.events.Eventf(state.Object, v1.EventTypeWarning, "ConfigRefused", "%s. %s", state.Problem, effect(state.Config))
	default:
		ref := &v1.ObjectReference{Kind: "ConfigMap", APIVersion: "v1", Namespace: c.options.ConfigMap.Namespace, Name: c.options.ConfigMap.Name}
		c.events.Eventf(ref, v1.EventTypeWarning, "ConfigMissing", "%s. %s", state.Problem, effect(state.Config))
	}
}

// maxEvent is the length in bytes after which the text of an Event is cut.
const maxEvent = 1000

// joined returns the texts as one text for an Event, because the queue of Events keeps only
// one Event of each object and reason.
func joined(texts []string) string {
	text := strings.Join(texts, "; ")
	if len(text) > maxEvent {
		text = strings.ToValidUTF8(text[:maxEvent], "") + " …"
	}
	return text
}

// useConfig makes the allocator use the present configuration. Before the adoption it only
// lets the adoption begin.
func (c *Cloud) useConfig() {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.configured:
	default:
		close(c.configured)
	}
	if c.isAdopted() {
		c.using = c.config.State()
		c.allocator.SetPools(c.using.Config)
	}
}

// publicationChanged handles a change of the ConfigMaps that the programs write.
func (c *Cloud) publicationChanged() {
	c.nodesChanged()
	c.publish.Set()
}

// describeState says whether the content of the ConfigMap is in use, for its annotation.
func describeState(state configmap.State) string {
	if state.Problem == nil {
		return "In use: " + Summary(state.Config)
	}
	return fmt.Sprintf("Refused: %s. %s", state.Problem, effect(state.Config))
}

// effect says what a refused or missing ConfigMap means. c is the configuration in use.
func effect(c *config.Config) string {
	if c == nil {
		return "There is no earlier configuration: Services wait for an address."
	}
	return "The last good configuration stays in use."
}

// Summary returns the contents of a configuration in one line.
func Summary(c *config.Config) string {
	ranges := map[ipam.Family]int{}
	for _, p := range c.Pools {
		for _, r := range p.Ranges {
			ranges[ipam.FamilyOf(r.From)]++
		}
	}
	text := fmt.Sprintf("%s with %d IPv4 and %d IPv6 ranges", count(len(c.Pools), "pool"), ranges[ipam.IPv4], ranges[ipam.IPv6])
	if len(c.Peers) > 0 {
		text += ", " + count(len(c.Peers), "BGP peer")
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
