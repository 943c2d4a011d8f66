package metallb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// kinds says what to do with the custom resources of MetalLB.
var kinds = map[string]func(*converter, *object){
	"IPAddressPool":    (*converter).readPool,
	"L2Advertisement":  (*converter).readL2Advertisement,
	"BGPAdvertisement": (*converter).readBGPAdvertisement,
	"BGPPeer":          (*converter).readPeer,
	"BFDProfile":       (*converter).readProfile,
	"Community":        (*converter).readCommunity,
}

// statusKinds are custom resources that MetalLB writes.
var statusKinds = []string{"ConfigurationState", "ServiceL2Status", "ServiceBGPStatus"}

// versions are the API versions of MetalLB's custom resources that are known.
var versions = []string{"v1beta1", "v1beta2"}

func (c *converter) readObjects(objects []*object) {
	for i, o := range objects {
		o.place = i
		c.hasResources = c.hasResources || o.group() == group && kinds[o.kind] != nil
	}
	for _, o := range objects {
		switch {
		case o.group() == group:
			c.readResource(o)
		case o.group() == "" && o.kind == "ConfigMap":
			c.readConfigMap(o)
		case o.kind == legacyKind:
			c.legacy = append(c.legacy, &legacy{o, o.legacy, 0})
		case o.group() == "" && o.kind == "Service":
			c.readService(o)
		case o.group() == "frrk8s.metallb.io":
			c.note(o, "", NotCarried, "", "is a configuration of FRR, and FRR does not run here: write what it has under peers, and configure the rest on the routers")
		default:
			c.note(o, "", Ignored, "", "is no configuration of MetalLB")
		}
	}
}

// readResource reads a custom resource of MetalLB.
func (c *converter) readResource(o *object) {
	read := kinds[o.kind]
	switch {
	case slices.Contains(statusKinds, o.kind):
		c.note(o, "", Ignored, "", "is a status that MetalLB writes")
		return
	case o.kind == "AddressPool":
		c.note(o, "", NotCarried, "", "MetalLB removed this kind: write an element of address-pools with name, spec.protocol as protocol, spec.addresses as addresses, spec.autoAssign as auto-assign and spec.bgpAdvertisements as bgp-advertisements")
		return
	case read == nil:
		c.note(o, "", NotCarried, "", "MetalLB 0.16 has no such kind, and it was not read")
		return
	case !slices.Contains(versions, o.version()):
		c.fail(o, "apiVersion", "%s is not known: it must be one of %s/%s", o.apiVersion, group, strings.Join(versions, ", "+group+"/"))
		return
	case o.name == "":
		c.fail(o, nameField, "is missing")
		return
	}
	c.resources = append(c.resources, o)
	c.checkFields(o)
	read(c, o)
}

// carry notes that a field was carried over, with what the table says about it.
func (f fields) carry(name string) {
	row, _ := f.c.table.field(f.o.kind, f.at(name))
	f.c.note(f.o, f.at(name), Carried, row.Key, "%s", "")
}

// carryUnlessNoted notes that fields were carried over, if the object has them and nothing
// else is noted about them.
func (f fields) carryUnlessNoted(names ...string) {
	for _, name := range names {
		if key, _ := lookUp(f.n, name); key != nil && !f.c.fieldNoted[fieldOfObject{f.o, f.at(name)}] {
			f.carry(name)
		}
	}
}

// outcome notes the outcome of a field, with what the table says about it.
func (f fields) outcome(name string, outcome Outcome) {
	row, _ := f.c.table.field(f.o.kind, f.at(name))
	f.c.note(f.o, f.at(name), outcome, row.Key, "%s", f.c.table.advice(f.o.kind, f.at(name)))
}

// copyText adds a text under the key of the table.
func (f fields) copyText(to *element, name string) (value string) {
	value, ok := f.text(name)
	if !ok {
		return ""
	}
	f.carry(name)
	if value != "" {
		to.add(f.key(name), f.origin(name), scalar(value))
	}
	return value
}

// copyNumber adds a number under the key of the table, unless it is the default.
func (f fields) copyNumber(to *element, name string, byDefault int64) (value int64) {
	value, ok := f.number(name)
	if !ok {
		return byDefault
	}
	f.carry(name)
	if value != byDefault {
		to.add(f.key(name), f.origin(name), integer(value))
	}
	return value
}

// copyBoolean adds true or false under the key of the table, unless it is the default.
func (f fields) copyBoolean(to *element, name string, byDefault bool) {
	value, ok := f.boolean(name)
	if !ok {
		return
	}
	f.carry(name)
	if value != byDefault {
		to.add(f.key(name), f.origin(name), boolean(value))
	}
}

// copyTexts adds a list of texts under the key of the table.
func (f fields) copyTexts(to *element, name string) (items []item) {
	items = f.texts(name)
	if f.value(name) != nil {
		f.carry(name)
	}
	to.addItems(f.key(name), f.origin(name), items)
	return items
}

// copySelectors adds label selectors under the key of the table.
func (f fields) copySelectors(to *element, name string) (list []selector) {
	list = f.selectors(name)
	if f.value(name) != nil {
		f.carry(name)
	}
	to.addSelectors(f.key(name), f.origin(name), list)
	return list
}

func (f fields) key(name string) string {
	row, _ := f.c.table.field(f.o.kind, f.at(name))
	return row.Key
}

func (f fields) origin(name string) origin {
	return origin{object: f.o, field: f.at(name), line: f.o.line(f.at(name))}
}

// pool is an IPAddressPool.
type pool struct {
	*object
	addresses *element // addresses and whether they are assigned
	serves    *element // which Services the pool serves
	pinned    bool     // MetalLB tries the pool before those that are not pinned
	priority  int64
	v4, v6    bool
}

func (c *converter) readPool(o *object) {
	f := c.spec(o)
	p := &pool{object: o, addresses: &element{}, serves: &element{}}
	for _, a := range f.copyTexts(p.addresses, "addresses") {
		p.v4 = p.v4 || !strings.Contains(a.text, ":")
		p.v6 = p.v6 || strings.Contains(a.text, ":")
	}
	f.copyBoolean(p.addresses, "autoAssign", true)
	f.copyBoolean(p.addresses, "avoidBuggyIPs", false)
	allocation := f.inner("serviceAllocation")
	p.pinned = allocation.n != nil
	p.priority = allocation.copyNumber(p.serves, "priority", 0)
	allocation.copyTexts(p.serves, "namespaces")
	allocation.copySelectors(p.serves, "namespaceSelectors")
	allocation.copySelectors(p.serves, "serviceSelectors")
	c.pools = append(c.pools, p)
}

// l2Advertisement is an L2Advertisement.
type l2Advertisement struct {
	*object
	poolNames        []item
	poolSelectors    []selector
	nodes            []selector
	interfaces       []item
	serviceSelectors []selector
}

func (c *converter) readL2Advertisement(o *object) {
	f := c.spec(o)
	a := &l2Advertisement{
		object: o, poolNames: f.texts("ipAddressPools"), poolSelectors: f.selectors("ipAddressPoolSelectors"),
		nodes: f.selectors("nodeSelectors"), interfaces: f.texts("interfaces"), serviceSelectors: f.selectors("serviceSelectors"),
	}
	c.l2 = append(c.l2, a)
}

// bgpAdvertisement is a BGPAdvertisement.
type bgpAdvertisement struct {
	*object
	poolNames        []item
	poolSelectors    []selector
	nodes            []selector
	peers            []item
	serviceSelectors []selector
	route            *element // what its routes are like, without the peers
}

func (c *converter) readBGPAdvertisement(o *object) {
	f := c.spec(o)
	a := &bgpAdvertisement{
		object: o, poolNames: f.texts("ipAddressPools"), poolSelectors: f.selectors("ipAddressPoolSelectors"),
		nodes: f.selectors("nodeSelectors"), peers: f.texts("peers"), serviceSelectors: f.selectors("serviceSelectors"),
		route: &element{from: origin{object: o}},
	}
	f.copyNumber(a.route, "aggregationLength", 32)
	f.copyNumber(a.route, "aggregationLengthV6", 128)
	f.copyNumber(a.route, "localPref", 0)
	f.copyTexts(a.route, "communities")
	c.bgp = append(c.bgp, a)
}

func (c *converter) readCommunity(o *object) {
	f := c.spec(o)
	for _, n := range f.list("communities") {
		alias := fields{c, o, "spec.communities[]", n}
		name, _ := alias.text("name")
		value, _ := alias.text("value")
		if name == "" || value == "" {
			c.fail(o, "spec.communities", "an element needs name and value")
			continue
		}
		alias.carry("name")
		alias.carry("value")
		c.aliases = append(c.aliases, entry{key: name, from: origin{o, "spec.communities", n.Line}, value: scalar(value)})
	}
}

func (c *converter) readProfile(o *object) {
	f := c.spec(o)
	e := &element{from: origin{object: o}}
	e.add("name", origin{o, nameField, o.line(nameField)}, scalar(o.name))
	f.copyNumber(e, "receiveInterval", 300)
	f.copyNumber(e, "transmitInterval", 300)
	f.copyNumber(e, "detectMultiplier", 3)
	f.copyNumber(e, "echoInterval", 0)
	f.copyNumber(e, "minimumTtl", 254)
	f.copyBoolean(e, "passiveMode", false)
	if on, ok := f.boolean("echoMode"); ok && on {
		f.outcome("echoMode", NotCarried)
	} else if ok {
		f.carry("echoMode")
	}
	c.profiles = append(c.profiles, e)
}

// family returns 4 or 6, and 0 for an address that cannot be read.
func family(address string) int {
	addr, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return 0
	case addr.Unmap().Is4():
		return 4
	}
	return 6
}

// names returns the texts with commas between them.
func names(items []item) string {
	list := make([]string, len(items))
	for i, n := range items {
		list[i] = n.text
	}
	return strings.Join(list, ", ")
}

func quoted(items []string) string {
	list := make([]string, len(items))
	for i, n := range items {
		list[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(list, ", ")
}
