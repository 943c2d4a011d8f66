package metallb

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// legacy is a configuration of MetalLB 0.12 or older.
type legacy struct {
	*object
	text   string
	offset int // lines of the file before the text; -1 if its lines are not those of the file
}

// readConfigMap reads a ConfigMap: one with pools, or one of those beside it.
func (c *converter) readConfigMap(o *object) {
	_, data := lookUp(o.root, "data")
	if _, value := lookUp(data, "config"); value != nil && value.Kind == yaml.ScalarNode && isLegacy(value.Value) {
		offset := -1
		if value.Style&yaml.LiteralStyle != 0 {
			offset = value.Line
		}
		c.legacy = append(c.legacy, &legacy{o, value.Value, offset})
		return
	}
	for i := 0; data != nil && data.Kind == mapping && i+1 < len(data.Content); i += 2 {
		key, value := data.Content[i].Value, data.Content[i+1].Value
		switch key {
		case "excludel2.yaml":
			c.readExcluded(o, value)
			return
		case "extras":
			if o.name == "bgpextras" {
				c.note(o, "data.extras", NotCarried, "", "is a configuration of FRR, and FRR does not run here: write what it has under peers, and configure the rest on the routers")
				return
			}
		}
	}
	if o.name == "metallb-memberlist-config" {
		c.note(o, "data", NotCarried, "", "has the times of MetalLB's member list: see the flag --failover of the speaker")
		return
	}
	c.note(o, "", Ignored, "", "is no configuration of MetalLB")
}

// isLegacy reports whether a text looks like a configuration of MetalLB 0.12.
func isLegacy(text string) bool {
	for line := range strings.Lines(text) {
		for _, key := range []string{"address-pools", "peers", "bfd-profiles", "bgp-communities"} {
			if strings.HasPrefix(line, key+":") {
				return true
			}
		}
	}
	return false
}

// excludedByDefault are the interfaces on which MetalLB announces nothing by default. The
// speakers' flag --exclude-interfaces has them all.
var excludedByDefault = []string{
	"^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", "^veth.*", "^lo$", "^cali.*", "^tunl.*", "^flannel.*",
	"^kube-ipvs.*", "^cni.*", "^nodelocaldns.*", "^lxc.*",
}

func (c *converter) readExcluded(o *object, text string) {
	const path = "data.excludel2.yaml"
	var excluded struct {
		Interfaces []string `yaml:"announcedInterfacesToExclude"`
	}
	if err := yaml.Unmarshal([]byte(text), &excluded); err != nil {
		c.fail(o, path, "%v", err)
		return
	}
	var more []string
	for _, expression := range excluded.Interfaces {
		if !slices.Contains(excludedByDefault, expression) {
			more = append(more, expression)
		}
	}
	if len(more) > 0 {
		c.note(o, path, NotCarried, "", "add these interfaces to the flag --exclude-interfaces of the speaker: %s", quoted(more))
		return
	}
	c.note(o, path, Carried, "", "the default of the flag --exclude-interfaces of the speaker has all these interfaces")
}

// legacyText returns the text of the only configuration. The grammar is the same.
func (c *converter) legacyText() (string, []origin) {
	for _, l := range c.legacy[1:] {
		c.fail(l.object, "", "is the second configuration of MetalLB 0.12: give only one")
	}
	l := c.legacy[0]
	w := &writer{}
	w.comment(0, "From MetalLB 0.12, whose keys mean the same here.")
	number := 0
	for line := range strings.Lines(l.text) {
		number++
		from := origin{object: l.object, field: "data.config"}
		if l.offset >= 0 {
			from.line = l.offset + number
		}
		w.line(0, from, strings.TrimSuffix(line, "\n"))
	}
	c.noteLegacy(l)
	return strings.Join(w.lines, "\n") + "\n", w.origins
}

// noteLegacy notes each key of a configuration of MetalLB 0.12. Keys that this project does
// not know are errors of the parser.
func (c *converter) noteLegacy(l *legacy) {
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(l.text), &root); err != nil || len(root.Content) == 0 {
		return // the parser says what is wrong
	}
	budget := maxNodes
	expanded, err := expand(root.Content[0], &budget, 0)
	if err != nil {
		c.fail(l.object, "data.config", "%v", err)
		return
	}
	c.noteKeys(l, expanded, "")
}

func (c *converter) noteKeys(l *legacy, n *yaml.Node, path string) {
	switch n.Kind {
	case sequence:
		for i, element := range n.Content {
			if element.Kind == mapping {
				c.noteKeys(l, element, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case mapping:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			inner := strings.TrimPrefix(path+"."+key.Value, ".")
			if hasMappings(value) {
				c.noteKeys(l, value, inner)
				continue
			}
			line := l.root.Line
			if l.offset >= 0 {
				line = l.offset + key.Line
			}
			c.notes = append(c.notes, Note{
				Source: l.source, Document: l.document, Line: line, Kind: l.kind, Namespace: l.namespace, Name: l.name,
				Field: "data.config: " + inner, Outcome: Carried, Key: key.Value, object: l.object,
			})
		}
	}
}

func hasMappings(n *yaml.Node) bool {
	return n.Kind == mapping || n.Kind == sequence && slices.ContainsFunc(n.Content, func(e *yaml.Node) bool { return e.Kind == mapping })
}

// understood are MetalLB's annotations that the cluster manager reads, and the annotation of
// this project that means the same.
var understood = map[string]string{
	"loadBalancerIPs": "lb.baremetal/addresses",
	"address-pool":    "lb.baremetal/pool",
	"allow-shared-ip": "lb.baremetal/share",
}

// allocatedFrom is an annotation that MetalLB writes.
const allocatedFrom = "ip-allocated-from-pool"

// readService looks at what a Service asks MetalLB for.
func (c *converter) readService(o *object) {
	f := fields{c: c, o: o, n: o.root}
	spec := f.inner("spec")
	if kind, _ := spec.text("type"); kind != "LoadBalancer" {
		return
	}
	o.name = strings.TrimPrefix(o.namespace+"/"+o.name, "/")
	_, metadata := lookUp(o.root, "metadata")
	_, annotations := lookUp(metadata, "annotations")
	for i := 0; annotations != nil && annotations.Kind == mapping && i+1 < len(annotations.Content); i += 2 {
		name := annotations.Content[i].Value
		prefix, what, _ := strings.Cut(name, "/")
		if prefix != "metallb.io" && prefix != "metallb.universe.tf" {
			continue
		}
		path := "metadata.annotations: " + name
		switch key, ok := understood[what]; {
		case ok:
			c.note(o, path, Carried, key, "%s", "")
		case what == allocatedFrom:
			c.note(o, path, Ignored, "", "is written by MetalLB, and asks for nothing")
		default:
			c.note(o, path, NotCarried, "", "the cluster manager does not know this annotation: see docs/reference/annotations.md for what a Service can ask for")
		}
	}
	if class, ok := spec.text("loadBalancerClass"); ok && !slices.Contains(c.options.Classes, class) {
		c.note(o, "spec.loadBalancerClass", NotCarried, "", "Services of the class %q are not served: start both programs with --load-balancer-class=%[1]s", class)
	}
}
