package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// kubeconfig returns a kubeconfig of a cluster that does not answer.
func kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: lab, contexts: [{name: lab, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUIPrintsTheAddressOfItsPageAndEndsWithTheContext(t *testing.T) {
	out, printed := io.Pipe()
	command := rootCommand(genericiooptions.IOStreams{Out: printed, ErrOut: io.Discard})
	command.SetArgs([]string{"ui", "--kubeconfig", kubeconfig(t)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := command.ExecuteContext(ctx)
		_ = printed.CloseWithError(err)
		done <- err
	}()
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, "http://127.0.0.1:") {
			url = line
		}
	}
	page, token, _ := strings.Cut(url, "#")
	if len(token) < 20 {
		t.Fatalf("the address is %q", url)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if !strings.Contains(data, `"cluster":"lab"`) || !strings.Contains(data, "listing the pods of namespace baremetal-system") {
				t.Errorf("without an API server, the page is told %s", data)
			}
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the command ended with %v", err)
	}
}

func TestUISaysThatItsPortIsInUse(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	command := rootCommand(genericiooptions.IOStreams{Out: io.Discard, ErrOut: io.Discard})
	command.SetArgs([]string{"ui", "--kubeconfig", kubeconfig(t), "--port", strconv.Itoa(port)})
	if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use: choose another --port") {
		t.Errorf("the error is %v", err)
	}
}
