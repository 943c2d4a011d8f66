// Package browser tests the page of "kubectl baremetal ui" in a real Chromium.
package browser

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
)

// limit is how long a test may take on a busy machine.
const limit = 5 * time.Minute

// tab is a tab of a browser that shows the page.
type tab struct {
	*testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	problems []string // what the console of the browser says
}

// open serves the page of a source, and opens it in a new browser.
func open(t *testing.T, source ui.Source) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("the test needs Chromium: apt-get install chromium")
	}
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

	// The tests run as root, for whom Chromium has no sandbox.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	tabCtx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	tabCtx, cancel := context.WithTimeout(tabCtx, limit)
	t.Cleanup(cancel)

	b := &tab{T: t, ctx: tabCtx, url: server.URL()}
	if err := chromedp.Listen(tabCtx, b.listen); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	t.Cleanup(b.checkConsole)
	b.run(chromedp.Navigate(b.url))
	return b
}

// listen keeps what the console of the browser says. TestPageWithoutTokenSaysWhatToDo shows that it
// hears the console.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, fmt.Sprint("exception: ", e.ExceptionDetails.Text, " ", e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console.%s %v", e.Type, e.Args))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

// checkConsole fails the test if the browser has complained about anything.
func (b *tab) checkConsole() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.Errorf("the browser's console: %s", p)
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// await waits until an expression of JavaScript is true.
func (b *tab) await(what, expression string) {
	b.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(time.Minute))); err != nil {
		b.keep("failed")
		b.Fatalf("%s: %v", what, err)
	}
}

// text returns what a JavaScript expression is, as a string.
func (b *tab) text(expression string) string {
	b.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// keep writes a screenshot of the whole page to the folder of -artifacts, to look at.
func (b *tab) keep(name string) {
	b.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// chips is an expression for the addresses in the box of a node, with their tags.
func chips(node string) string {
	return fmt.Sprintf(`[...document.getElementById("node-%s").parentElement.querySelectorAll(".chip")].map(c => [c.dataset.address, ...[...c.querySelectorAll(".tag")].map(t => t.textContent)].join(" ")).join(", ")`, node)
}

func state(node string) string {
	return fmt.Sprintf(`document.getElementById("node-%s").parentElement.querySelector(".state").textContent`, node)
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
	b := open(t, c)
	b.await("the first picture", chips("node-2")+` === "192.0.2.10 L2, 192.0.2.11 L2, 192.0.2.13 L2 33 %, 198.51.100.7 BGP"`)
	b.await("a carrier", chips("node-4")+` === "192.0.2.13 34 %, 198.51.100.7 BGP"`)
	b.await("nowhere", `document.querySelector("#nowhere .chip").textContent.includes("no node that may announce has a ready endpoint")`)
	b.await("the address bar", `location.hash === "" && location.search === ""`)
	if got := b.text(state("node-2")); got != "● up" {
		t.Errorf("node-2 is %q", got)
	}
	b.keep("before")
	b.run(chromedp.Focus(chromedp.CSS(`#nodes [data-address="192.0.2.12"]`)))

	c.set(func(c *cluster) { c.dead = []string{"node-2"} })
	b.await("node-2 is dead", state("node-2")+` === "✕ dead: no other speaker hears it"`)
	b.await("node-2 has nothing", chips("node-2")+` === ""`)
	b.await("node-3 has taken over", chips("node-3")+` === "192.0.2.10 L2, 192.0.2.13 L2 50 %, 2001:db8::10 L2"`)
	b.await("node-1 has taken over", chips("node-1")+` === "192.0.2.11 L2, 192.0.2.12 L2, 198.51.100.7 BGP"`)
	b.await("the moves", `document.getElementById("moves").textContent.includes("192.0.2.10 and 192.0.2.13 moved from node-2 to node-3")`)
	b.await("the moves are spoken", `document.getElementById("spoken").textContent.includes("node-2 was up, and is dead now")`)
	b.await("the problem", `document.querySelectorAll("#problems .error").length === 1 && document.title.startsWith("(2)")`)
	b.await("what has arrived is marked", `document.querySelectorAll(".chip.arrived").length > 0`)
	b.await("the focus stays", `document.activeElement.dataset.address === "192.0.2.12"`)
	b.keep("after")

	c.set(func(c *cluster) { c.down = true })
	b.await("the page says that it is old", `document.getElementById("live").textContent === "✕ Not live: listing the pods: the API server does not answer"`)
	b.await("the addresses stay", chips("node-1")+` === "192.0.2.11 L2, 192.0.2.12 L2, 198.51.100.7 BGP"`)
	c.set(func(c *cluster) { c.down, c.dead = false, nil })
	b.await("all is back", chips("node-2")+` === "192.0.2.10 L2, 192.0.2.11 L2, 192.0.2.13 L2 33 %, 198.51.100.7 BGP" && document.getElementById("live").textContent === "● Live"`)
}

func TestAddressIsExplainedByClickAndKeyboard(t *testing.T) {
	b := open(t, fiveNodes())
	chip := chromedp.CSS(`#nodes [data-address="192.0.2.12"]`)
	explained := `document.getElementById("explain").open && document.getElementById("explain-text").textContent.includes("Owner: node-1")`
	closed := `!document.getElementById("explain").open`
	b.run(chromedp.Click(chip, chromedp.NodeVisible))
	b.await("a click explains", explained)
	b.keep("explain")
	b.run(chromedp.Click(chromedp.CSS("#explain form button"), chromedp.NodeVisible))
	b.await("the button closes", closed)
	b.await("the focus is back", `document.activeElement.dataset.address === "192.0.2.12"`)
	b.run(chromedp.KeyEvent(kb.Enter))
	b.await("the key Enter explains", explained)
	b.run(chromedp.KeyEvent(kb.Escape))
	b.await("the key Escape closes", closed)
	b.run(chromedp.KeyEvent("/"), chromedp.KeyEvent("stream"))
	b.await("the key / searches", `document.activeElement.id === "search" && document.querySelectorAll("#nodes .chip").length === 3`)
	b.await("the address has a name for a screen reader",
		`document.querySelector("#nodes .chip").getAttribute("aria-label") === "192.0.2.13, media/stream, announced by layer 2, 33 % of its flows at node-2. Explain."`)
	b.run(chromedp.Reload())
	b.await("the token is still known after a reload", chips("node-1")+`.includes("192.0.2.12")`)
}

func TestPageWithAThousandAddressesIsCollapsed(t *testing.T) {
	c := &cluster{nodes: []string{"node-1", "node-2", "node-3"}}
	for i := range 1000 {
		nodes := []string{c.nodes[i%3], c.nodes[(i+1)%3]}
		c.addresses = append(c.addresses, address{
			addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), service: fmt.Sprintf("shop/web-%d", i), protocol: "layer2", nodes: nodes,
		})
	}
	b := open(t, c)
	b.await("each box shows some", `document.querySelectorAll("#nodes .chip").length === 3 * 18`)
	b.await("and a button", `document.querySelector("#nodes .more").textContent === "show all 334"`)
	b.keep("thousand")
	b.run(chromedp.Click(chromedp.CSS(`#nodes .more`)))
	b.await("the button shows all", `document.querySelectorAll("#nodes .chip").length === 334 + 2 * 18`)
	c.set(func(c *cluster) { c.dead = []string{"node-1"} })
	b.await("all move", chips("node-1")+` === "" && document.querySelectorAll("#nodes .more")[0].textContent === "show all 667"`)
	b.await("in one line", `document.getElementById("moves").textContent.includes("334 addresses (10.0.0.0, 10.0.0.3, 10.0.0.6, …) moved from node-1 to node-2")`)
	b.run(chromedp.SendKeys(chromedp.CSS("#search"), "web-999"))
	b.await("the search finds one", `document.querySelectorAll("#nodes .chip").length === 1`)
}

func TestPageFollowsTheColorSchemeAndLessMotion(t *testing.T) {
	b := open(t, fiveNodes())
	background := `getComputedStyle(document.body).backgroundColor`
	media := func(features ...*emulation.MediaFeature) {
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			t.Fatal(err)
		}
	}
	media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: "light"})
	b.await("the first picture", `document.querySelectorAll("#nodes .chip").length > 0`)
	light := b.text(background)
	media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: "dark"}, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	if dark := b.text(background); dark == light {
		t.Errorf("the background is %s in both color schemes", dark)
	}
	b.keep("dark")
	still := `(() => { const x = document.createElement("p"); x.className = "arrived"; document.body.append(x); const f = getComputedStyle(x).animationTimingFunction; x.remove(); return f })()`
	if got := b.text(still); !strings.HasPrefix(got, "step") {
		t.Errorf("with less motion, what has arrived is animated by %s", got)
	}
	b.run(chromedp.EmulateViewport(400, 800, chromedp.EmulateMobile))
	b.await("a small screen needs no horizontal scrolling", `document.documentElement.scrollWidth <= 400`)
	b.keep("small")
}

// Without the token of the address that the command has printed, the page says what to do.
func TestPageWithoutTokenSaysWhatToDo(t *testing.T) {
	b := open(t, fiveNodes())
	b.await("the first picture", `document.querySelectorAll("#nodes .chip").length > 0`)
	address, _, _ := strings.Cut(b.url, "#")
	b.run(chromedp.Evaluate[chromedp.Void](`sessionStorage.clear()`), chromedp.Navigate(address))
	b.await("the page asks for the token", `document.getElementById("live").textContent.includes("open the address that the command has printed")`)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) == 0 {
		t.Error("the test does not hear the browser's console, which must say that the request for the events failed")
	}
	for _, p := range b.problems {
		if !strings.Contains(p, "401 (Unauthorized)") {
			t.Errorf("the browser's console: %s", p)
		}
	}
	b.problems = nil
}
