package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
)

// patience is how long a client waits for an answer that should come.
const patience = 10 * time.Second

// looping is a router that sends the packets for VIPs to the node, and is the node's default
// gateway. The client is a host behind the router.
type looping struct {
	*router
	client  *router // only its network namespace
	pings   int     // conntrack remembers a ping by its number
	refuser *closedports.Refuser
	problem atomic.Pointer[string] // what the refuser has logged as a warning
}

func loopingRouter(t testing.TB) *looping {
	t.Helper()
	need(t, "nft")
	r := &looping{router: wireRouter(t, 0), client: &router{t: t, netns: startNetns(t)}}
	r.run("ip", "link", "add", "client", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(r.client.netns.Process.Pid))
	r.run("ip", "addr", "add", "172.31.0.1/24", "dev", "client")
	r.run("ip", "addr", "add", "fd00:130::1/64", "dev", "client", "nodad")
	r.run("ip", "link", "set", "client", "up")
	for _, command := range []string{"link set eth0 up", "addr add 172.31.0.2/24 dev eth0", "addr add fd00:130::2/64 dev eth0 nodad", "route add default via 172.31.0.1", "route add default via fd00:130::1"} {
		r.client.run(append([]string{"ip"}, strings.Fields(command)...)...)
	}
	forwarding := []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}
	for _, file := range forwarding {
		set(t, file, "1")
		t.Cleanup(func() { set(t, file, "0") })
		r.run("sh", "-c", "echo 1 >"+file)
	}
	ip(t, "route add default via "+r.addr4.String())
	ip(t, "route add default via "+r.addr6.String())
	r.run("ip", "route", "add", "203.0.113.0/24", "via", r.node4.String())
	r.run("ip", "route", "add", "2001:db8:113::/64", "via", r.node6.String())
	for _, addr := range []netip.Addr{r.node4, r.node6} {
		// The links have no IPv6 before the kernel has checked their link-local addresses.
		eventually(t, "the client reaches "+addr.String(), func() bool { return errors.Is(r.connect(addr, 1), syscall.ECONNREFUSED) })
	}
	r.nft("add table inet proxy",
		"add chain inet proxy count { type filter hook prerouting priority -300; }",
		"add chain inet proxy nat { type nat hook prerouting priority dstnat; }",
		"add chain inet proxy filter { type filter hook forward priority filter; }")
	t.Cleanup(func() { r.nft("delete table inet proxy") })
	return r
}

func set(t testing.TB, file, value string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// nft gives commands to the node's nftables.
func (r *looping) nft(commands ...string) string {
	r.t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("nft %q: %v: %s", commands, err, out)
	}
	return string(out)
}

func (r *looping) wanted() closedports.Wanted {
	return closedports.Wanted{Addrs: slices.Clone(routedVIPs), Links: []string{"router-0"}}
}

// refuse starts a refuser, after the one before has ended, and waits until it has written
// its table.
func (r *looping) refuse(answerPing bool, w closedports.Wanted) (stop func()) {
	r.t.Helper()
	if r.refuser != nil {
		r.nft("delete table inet " + closedports.TableName) // the one before writes it again after a minute only
	}
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r.refuser = closedports.New(closedports.Options{Log: log, Metrics: prometheus.NewRegistry(), AnswerPing: answerPing})
	stop = run(r.t, r.refuser.Run)
	r.t.Cleanup(stop)
	r.refuser.Set(w)
	eventually(r.t, "the table is written", func() bool { return len(r.rawElements("links")) == len(w.Links) })
	return stop
}

// Write notes what the refuser logs.
func (r *looping) Write(line []byte) (int, error) {
	text := string(line)
	r.problem.Store(&text)
	return len(line), nil
}

func (r *looping) hasTable() bool {
	return exec.Command("nft", "list", "table", "inet", closedports.TableName).Run() == nil
}

// drops returns how many packets the rule with the comment has dropped.
func (r *looping) drops(comment string) (total int) {
	r.t.Helper()
	for line := range strings.Lines(r.nft("list table inet " + closedports.TableName)) {
		if match := regexp.MustCompile(`counter packets (\d+)`).FindStringSubmatch(line); match != nil && strings.Contains(line, `"`+comment+`"`) {
			n, _ := strconv.Atoi(match[1]) // it has only digits
			total += n
		}
	}
	return total
}

func (r *looping) dropped(comment string) bool { return r.drops(comment) > 0 }

// lifetimes returns after which time the rules end, for each family.
func (r *looping) lifetimes() (left []time.Duration) {
	for _, e := range r.rawElements("alive") {
		left = append(left, e.Expires)
	}
	return left
}

// count begins to count the packets to an address that the node receives.
func (r *looping) count(vip netip.Addr) {
	r.t.Helper()
	r.nft("flush chain inet proxy count", fmt.Sprintf("add rule inet proxy count %s daddr %s counter", family(vip), vip))
}

func (r *looping) counted() int {
	r.t.Helper()
	match := regexp.MustCompile(`counter packets (\d+)`).FindStringSubmatch(r.nft("list chain inet proxy count"))
	n, err := strconv.Atoi(match[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "ip6"
	}
	return "ip"
}

// pod is where kube-proxy sends a connection.
func (r *looping) pod(vip netip.Addr) netip.AddrPort {
	if vip.Is6() {
		return netip.AddrPortFrom(r.node6, 8080)
	}
	return netip.AddrPortFrom(r.node4, 8080)
}

// serve starts a pod that sends back what it gets.
func (r *looping) serve() {
	r.t.Helper()
	for _, vip := range routedVIPs {
		listener, err := net.Listen("tcp", r.pod(vip).String())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return // the test has ended
				}
				go func() {
					defer conn.Close()
					_, _ = io.Copy(conn, conn) // ends with the connection
				}()
			}
		}()
	}
}

// generation returns the number of the kernel's rule set: it grows with every transaction.
func generation(t testing.TB) uint32 {
	t.Helper()
	id, err := rulesetGeneration()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// elements returns the keys of a set of the table, in order.
func (r *looping) elements(set string) (keys []string) {
	for _, e := range r.rawElements(set) {
		keys = append(keys, string(e.Key))
	}
	slices.Sort(keys)
	return keys
}

// networks returns how many addresses are in the set networks4.
func (r *looping) networks() (total int) {
	for _, e := range r.rawElements("networks4") {
		at := int(e.Key[3])
		if e.Key[2] != 113 {
			at = 256 // the first address after 203.0.113.255
		}
		if e.IntervalEnd {
			total += at
		} else {
			total -= at
		}
	}
	return total
}

func (r *looping) rawElements(set string) []nftables.SetElement {
	r.t.Helper()
	t := &nftables.Table{Name: closedports.TableName, Family: nftables.TableFamilyINet}
	conn, err := nftables.New()
	if err != nil {
		r.t.Fatal(err)
	}
	elements, err := conn.GetSetElements(&nftables.Set{Table: t, Name: set})
	if err != nil {
		return nil // the table is being replaced
	}
	return elements
}

func unique(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// rulesetGeneration asks the kernel for the generation of its rule set.
func rulesetGeneration() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4),
	})
	if err != nil {
		return 0, err
	}
	attributes, err := netlink.UnmarshalAttributes(replies[0].Data[4:])
	if err != nil {
		return 0, err
	}
	for _, a := range attributes {
		if a.Type == unix.NFTA_GEN_ID {
			return binary.BigEndian.Uint32(a.Data), nil
		}
	}
	return 0, errors.New("the answer has no generation")
}
