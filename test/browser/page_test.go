package browser_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/browser"
)

// page is the page of "kubectl baremetal ui" in a browser.
type page struct {
	*browser.Tab
	url string
}

// serve serves the page of a faked cluster, and opens it in a new browser.
func serve(t *testing.T, source ui.Source) *page {
	t.Helper()
	server, err := ui.New(ui.Options{Source: source, Cluster: "shop-prod", Interval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(stop)
	return &page{Tab: browser.Open(t, server.URL()), url: server.URL()}
}

// chips is an expression for the addresses in the box of a node, with their tags.
func chips(node string) string {
	return fmt.Sprintf(`[...document.getElementById("node-%s")?.parentElement.querySelectorAll(".chip") ?? []].map(c => [c.dataset.address, ...[...c.querySelectorAll(".tag")].map(t => t.textContent)].join(" ")).join(", ")`, node)
}

func state(node string) string {
	return fmt.Sprintf(`document.getElementById("node-%s")?.parentElement.querySelector(".state").textContent`, node)
}

func fiveNodes() *cluster {
	c := &cluster{nodes: []string{"node-1", "node-2", "node-3", "node-4", "node-5"}}
	add := func(addr, service, protocol string, nodes ...string) *address {
		c.addresses = append(c.addresses, address{addr: netip.MustParseAddr(addr), service: service, protocol: protocol, nodes: nodes})
		return &c.addresses[len(c.addresses)-1]
	}
	add("192.0.2.10", "shop/web", "layer2", "node-2", "node-3", "node-1")
	add("192.0.2.11", "shop/api", "layer2", "node-2", "node-1", "node-3")
	add("192.0.2.12", "mail/smtp-with-a-very-long-name-that-does-not-fit", "layer2", "node-1", "node-2")
	add("192.0.2.13", "media/stream", "layer2", "node-2", "node-3", "node-4").spread = true
	add("198.51.100.7", "dns/resolver", "bgp", "node-1", "node-2", "node-4", "node-5")
	add("2001:db8::10", "shop/web", "layer2", "node-3", "node-2")
	add("192.0.2.14", "lab/printer", "layer2", "node-5").nowhere = true
	c.problems = []ui.Problem{{Severity: "warning", Where: "node node-1", What: "the BGP session with peer tor-2 (192.0.2.254) is down: connection refused", Do: "See whether the router runs, and whether it knows the node as a neighbor"}}
	return c
}

func TestPageShowsThatANodeDies(t *testing.T) {
	c := fiveNodes()
	b := serve(t, c)
	b.Await("the first picture", chips("node-2")+` === "192.0.2.10 L2, 192.0.2.11 L2, 192.0.2.13 L2 33 %, 198.51.100.7 BGP"`)
	b.Await("a carrier", chips("node-4")+` === "192.0.2.13 34 %, 198.51.100.7 BGP"`)
	b.Await("nowhere", `document.querySelector("#nowhere .chip").textContent.includes("no node that may announce has a ready endpoint")`)
	b.Await("the address bar", `location.hash === "" && location.search === ""`)
	if got := b.Text(state("node-2")); got != "● up" {
		t.Errorf("node-2 is %q", got)
	}
	b.Keep("before")
	b.Run(chromedp.Focus(chromedp.CSS(`#nodes [data-address="192.0.2.12"]`)))

	c.set(func(c *cluster) { c.dead = []string{"node-2"} })
	b.Await("node-2 is dead", state("node-2")+` === "✕ dead: no other speaker hears it"`)
	b.Await("node-2 has nothing", chips("node-2")+` === ""`)
	b.Await("node-3 has taken over", chips("node-3")+` === "192.0.2.10 L2, 192.0.2.13 L2 50 %, 2001:db8::10 L2"`)
	b.Await("node-1 has taken over", chips("node-1")+` === "192.0.2.11 L2, 192.0.2.12 L2, 198.51.100.7 BGP"`)
	b.Await("the moves", `document.getElementById("moves").textContent.includes("192.0.2.10 and 192.0.2.13 moved from node-2 to node-3")`)
	b.Await("the moves are spoken", `document.getElementById("spoken").textContent.includes("node-2 was up, and is dead now")`)
	b.Await("the problem", `document.querySelectorAll("#problems .error").length === 1 && document.title.startsWith("(2)")`)
	b.Await("what has arrived is marked", `document.querySelectorAll(".chip.arrived").length > 0`)
	b.Await("the focus stays", `document.activeElement.dataset.address === "192.0.2.12"`)
	b.Keep("after")

	c.set(func(c *cluster) { c.down = true })
	b.Await("the page says that it is old", `document.getElementById("live").textContent === "✕ Not live: listing the pods: the API server does not answer"`)
	b.Await("the addresses stay", chips("node-1")+` === "192.0.2.11 L2, 192.0.2.12 L2, 198.51.100.7 BGP"`)
	c.set(func(c *cluster) { c.down, c.dead = false, nil })
	b.Await("all is back", chips("node-2")+` === "192.0.2.10 L2, 192.0.2.11 L2, 192.0.2.13 L2 33 %, 198.51.100.7 BGP" && document.getElementById("live").textContent === "● Live"`)
}

func TestAddressIsExplainedByClickAndKeyboard(t *testing.T) {
	b := serve(t, fiveNodes())
	chip := chromedp.CSS(`#nodes [data-address="192.0.2.12"]`)
	explained := `document.getElementById("explain").open && document.getElementById("explain-text").textContent.includes("Owner: node-1")`
	closed := `!document.getElementById("explain").open`
	b.Run(chromedp.Click(chip, chromedp.NodeVisible))
	b.Await("a click explains", explained)
	b.Keep("explain")
	b.Run(chromedp.Click(chromedp.CSS("#explain form button"), chromedp.NodeVisible))
	b.Await("the button closes", closed)
	b.Await("the focus is back", `document.activeElement.dataset.address === "192.0.2.12"`)
	b.Run(chromedp.KeyEvent(kb.Enter))
	b.Await("the key Enter explains", explained)
	b.Run(chromedp.KeyEvent(kb.Escape))
	b.Await("the key Escape closes", closed)
	b.Run(chromedp.KeyEvent("/"), chromedp.KeyEvent("stream"))
	b.Await("the key / searches", `document.activeElement.id === "search" && document.querySelectorAll("#nodes .chip").length === 3`)
	b.Await("the address has a name for a screen reader",
		`document.querySelector("#nodes .chip").getAttribute("aria-label") === "192.0.2.13, media/stream, announced by layer 2, 33 % of its flows at node-2. Explain."`)
	b.Run(chromedp.Reload())
	b.Await("the token is still known after a reload", chips("node-1")+`.includes("192.0.2.12")`)
}

func TestPageWithAThousandAddressesIsCollapsed(t *testing.T) {
	c := &cluster{nodes: []string{"node-1", "node-2", "node-3"}}
	for i := range 1000 {
		nodes := []string{c.nodes[i%3], c.nodes[(i+1)%3]}
		c.addresses = append(c.addresses, address{
			addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), service: fmt.Sprintf("shop/web-%d", i), protocol: "layer2", nodes: nodes,
		})
	}
	b := serve(t, c)
	b.Await("each box shows some", `document.querySelectorAll("#nodes .chip").length === 3 * 18`)
	b.Await("and a button", `document.querySelector("#nodes .more").textContent === "show all 334"`)
	b.Keep("thousand")
	b.Run(chromedp.Click(chromedp.CSS(`#nodes .more`)))
	b.Await("the button shows all", `document.querySelectorAll("#nodes .chip").length === 334 + 2 * 18`)
	c.set(func(c *cluster) { c.dead = []string{"node-1"} })
	b.Await("all move", chips("node-1")+` === "" && document.querySelectorAll("#nodes .more")[0].textContent === "show all 667"`)
	b.Await("in one line", `document.getElementById("moves").textContent.includes("334 addresses (10.0.0.0, 10.0.0.3, 10.0.0.6, …) moved from node-1 to node-2")`)
	b.Run(chromedp.SendKeys(chromedp.CSS("#search"), "web-999"))
	b.Await("the search finds one", `document.querySelectorAll("#nodes .chip").length === 1`)
}

func TestPageFollowsTheColorSchemeAndLessMotion(t *testing.T) {
	b := serve(t, fiveNodes())
	background := `getComputedStyle(document.body).backgroundColor`
	media := func(features ...*emulation.MediaFeature) {
		browser.Call(b.Tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	}
	media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: "light"})
	b.Await("the first picture", `document.querySelectorAll("#nodes .chip").length > 0`)
	light := b.Text(background)
	media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: "dark"}, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	if dark := b.Text(background); dark == light {
		t.Errorf("the background is %s in both color schemes", dark)
	}
	b.Keep("dark")
	still := `(() => { const x = document.createElement("p"); x.className = "arrived"; document.body.append(x); const f = getComputedStyle(x).animationTimingFunction; x.remove(); return f })()`
	if got := b.Text(still); !strings.HasPrefix(got, "step") {
		t.Errorf("with less motion, what has arrived is animated by %s", got)
	}
	b.Run(chromedp.EmulateViewport(400, 800, chromedp.EmulateMobile))
	b.Await("a small screen needs no horizontal scrolling", `document.documentElement.scrollWidth <= 400`)
	b.Keep("small")
}

// Without the token of the address that the command has printed, the page says what to do.
func TestPageWithoutTokenSaysWhatToDo(t *testing.T) {
	b := serve(t, fiveNodes())
	b.Await("the first picture", `document.querySelectorAll("#nodes .chip").length > 0`)
	address, _, _ := strings.Cut(b.url, "#")
	b.Run(chromedp.Evaluate[chromedp.Void](`sessionStorage.clear()`), chromedp.Navigate(address))
	b.Await("the page asks for the token", `document.getElementById("live").textContent.includes("open the address that the command has printed")`)
	said := b.Console()
	if len(said) != 1 {
		t.Errorf("the browser's console says %q, and must say once that the request for the events failed", said)
	}
	for _, p := range said {
		if !strings.Contains(p, "401 (Unauthorized)") {
			t.Errorf("the browser's console: %s", p)
		}
	}
}
