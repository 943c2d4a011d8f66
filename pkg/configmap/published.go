package configmap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Two more ConfigMaps are in the namespace of the operator's ConfigMap. They have its name
// with a suffix. The programs write them, people only read them.

// InUse returns the name of the ConfigMap that the leading cluster manager publishes: the
// text of the configuration that it uses, and the addresses that no pool has any more.
// The programs use this text when they start and the operator's ConfigMap is missing or
// refused. So a restart changes nothing.
func (r *Ref) InUse() string { return r.Name + "-in-use" }

// NodeLinks returns the name of the ConfigMap to which each speaker writes the addresses of
// its node.
func (r *Ref) NodeLinks() string { return r.Name + "-nodes" }

// OrphansKey is the key of the orphans, as JSON, in the ConfigMap InUse. The text of the
// configuration has the key Key.
const OrphansKey = "orphans"

// WithheldKey is the key of the withheld addresses, as JSON, in the ConfigMap InUse.
const WithheldKey = "withheld"

// InUse is what the leading cluster manager has published.
type InUse struct {
	// Config is the configuration that it uses, nil if nothing was published or the text
	// cannot be read.
	Config *config.Config
	// Hash identifies the text of Config.
	Hash    string
	Orphans []config.Orphan
	// Withheld are the addresses that Services have, but not in their status, by the UIDs of
	// the Services: foreign hosts have them. The speakers go on to probe them.
	Withheld map[types.UID][]netip.Addr
	// Object is the ConfigMap, nil if there is none.
	Object *v1.ConfigMap
}

// NodeLinks are the addresses on the links of one node, and those of its default gateways.
type NodeLinks struct {
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Gateways  []netip.Addr   `json:"gateways,omitempty"`
	// Networks are the networks of the links, by the names of the interfaces.
	Networks map[string][]netip.Prefix `json:"networks,omitempty"`
	// Conflicts are the addresses of Services that this node would announce if no foreign host
	// had them, with the MAC addresses of these hosts.
	Conflicts map[netip.Addr]string `json:"conflicts,omitempty"`
	// Spread are the links over which this node hands flows of spread addresses on; empty if it cannot.
	Spread []SpreadLink `json:"spread,omitempty"`
	// Left is when the speaker of this node has left, as another speaker has written; the zero value while it runs.
	Left time.Time `json:"left,omitzero"`
}

// SpreadLink is a link over which a node hands flows on.
type SpreadLink struct {
	Name string `json:"name"`
	// MACs are the addresses from which the link sends: first its own, then those of its ports.
	MACs []string `json:"macs"`
	// IPv4 and IPv6 are its main addresses with the lengths of their prefixes; the zero value for none.
	IPv4 netip.Prefix `json:"ipv4,omitzero"`
	IPv6 netip.Prefix `json:"ipv6,omitzero"`
}

// Hash identifies the text of a configuration.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// ReadInUse reads the ConfigMap InUse; nil means that there is none. It returns what it can
// read, and an error for the rest, because another version may have written the ConfigMap.
func ReadInUse(cm *v1.ConfigMap) (InUse, error) {
	if cm == nil {
		return InUse{}, nil
	}
	u := InUse{Object: cm}
	var err error
	if u.Orphans, err = config.DecodeOrphans([]byte(cm.Data[OrphansKey])); err != nil {
		return u, fmt.Errorf("reading ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	if text := cm.Data[WithheldKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &u.Withheld); err != nil {
			return u, fmt.Errorf("reading ConfigMap %s/%s: decoding the withheld addresses: %w", cm.Namespace, cm.Name, err)
		}
	}
	text, ok := cm.Data[Key]
	if !ok {
		return u, nil
	}
	c, err := config.Parse([]byte(text))
	if err != nil {
		return u, fmt.Errorf("reading ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	u.Config, u.Hash = c, Hash(text)
	return u, nil
}

// ReadNodeLinks reads the ConfigMap NodeLinks; nil means that there is none.
func ReadNodeLinks(cm *v1.ConfigMap, log *slog.Logger) map[string]NodeLinks {
	if cm == nil {
		return nil
	}
	nodes := make(map[string]NodeLinks, len(cm.Data))
	for node, text := range cm.Data {
		var l NodeLinks
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			log.Warn("addresses of a node cannot be read", "configmap", cm.Namespace+"/"+cm.Name, "node", node, "error", err)
			continue
		}
		nodes[node] = l
	}
	return nodes
}
