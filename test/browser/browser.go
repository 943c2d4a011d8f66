// Package browser drives a real Chromium in tests.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit is how long a test may take on a busy machine.
const limit = 5 * time.Minute

// Tab is a tab of a browser.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the console of the browser says
}

// Open opens a page in a new browser. At the end of the test it checks that the console of the
// browser says nothing. The test is skipped without Chromium.
func Open(t *testing.T, url string) *Tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("the test needs Chromium: apt-get install chromium")
	}
	// The tests run as root, for whom Chromium has no sandbox.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	tabCtx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	tabCtx, cancel := context.WithTimeout(tabCtx, limit)
	t.Cleanup(cancel)

	b := &Tab{t: t, ctx: tabCtx}
	if err := chromedp.Listen(tabCtx, b.listen); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	t.Cleanup(b.checkConsole)
	b.Run(chromedp.Navigate(url))
	return b
}

// listen keeps what the console of the browser says. TestPageWithoutTokenSaysWhatToDo shows that it
// hears the console.
func (b *Tab) listen(event any) {
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
func (b *Tab) checkConsole() {
	for _, p := range b.Console() {
		b.t.Errorf("the browser's console: %s", p)
	}
}

// Console returns what the console of the browser has said since the last call.
func (b *Tab) Console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.problems
	b.problems = nil
	return said
}

// Call runs a command of the DevTools protocol with parameters.
func Call[P, R any](b *Tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// Run runs actions of chromedp.
func (b *Tab) Run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// Await waits until an expression of JavaScript is true.
func (b *Tab) Await(what, expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(time.Minute))); err != nil {
		b.Keep("failed")
		b.t.Fatalf("%s: %v", what, err)
	}
}

// Text returns what a JavaScript expression is, as a string.
func (b *Tab) Text(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// Keep writes a screenshot of the whole page to the folder of -artifacts, to look at.
func (b *Tab) Keep(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
