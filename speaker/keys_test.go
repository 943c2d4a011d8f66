package speaker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

const namespace = "baremetal-system"

func key(c string) []byte { return []byte(strings.Repeat(c, memberkey.MinLength)) }

// secretOf returns the Secret with the keys that the words name; "" for none.
func secretOf(send, accepted string) *v1.Secret {
	s := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: memberkey.Name}, Data: map[string][]byte{}}
	if send != "" {
		s.Data[memberkey.DataKey] = key(send)
	}
	if accepted != "" {
		s.Data[memberkey.AcceptedDataKey] = key(accepted)
	}
	return s
}

// followed is a speaker that follows the Secret.
type followed struct {
	client *fake.Clientset
	log    logBuffer

	mu   sync.Mutex
	keys string // the keys in use, the one for sending first
}

// used returns the keys in use, when all goroutines have done what they can.
func (f *followed) used() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys
}

// follow starts a speaker with the key "a" inside a synctest bubble.
func follow(t *testing.T) *followed {
	f := &followed{client: fake.NewClientset(secretOf("a", "")), keys: "a"}
	w, err := newKeyWatcher(f.client, namespace, slog.New(slog.NewTextHandler(&f.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(func() { cancel(); work.Wait() })
	work.Go(func() { _ = w.Run(ctx) })
	synctest.Wait()
	keys, err := w.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	work.Go(func() {
		_ = w.follow(ctx, memberkey.NewRing(keys), func(keys [][]byte) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.keys = ""
			for _, k := range keys {
				f.keys += string(k[:1])
			}
		})
	})
	synctest.Wait()
	return f
}

func (f *followed) write(t *testing.T, secret *v1.Secret) {
	t.Helper()
	if _, err := f.client.CoreV1().Secrets(namespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestSpeakerFollowsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		check := func(when, want string) {
			t.Helper()
			if got := f.used(); got != want {
				t.Errorf("%s: %q is in use, want %q", when, got, want)
			}
		}
		f.write(t, secretOf("a", "b"))
		check("a second key", "ab")
		time.Sleep(time.Minute)
		f.write(t, secretOf("b", "a"))
		check("swapped", "ba")
		f.write(t, secretOf("b", ""))
		check("the old key is removed", "ba")
		time.Sleep(2 * time.Minute)
		check("later", "b")

		secrets := f.client.CoreV1().Secrets(namespace)
		if err := secrets.Delete(t.Context(), memberkey.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		check("the Secret is deleted", "b")
		if _, err := secrets.Create(t.Context(), secretOf("c", ""), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		check("the Secret is made again", "bc")
		time.Sleep(10 * time.Second)
		check("after ten seconds", "cb")
		time.Sleep(time.Minute)
		check("after a minute", "c")
		if log := f.log.String(); strings.Contains(log, "cccc") || strings.Contains(log, "bbbb") {
			t.Errorf("a key is in the log: %s", log)
		}
	})
}

func TestSpeakerKeepsItsKeysWhenTheSecretIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		short := secretOf("a", "")
		short.Data[memberkey.DataKey] = []byte("short")
		for _, bad := range []*v1.Secret{short, secretOf("", "b"), short} {
			f.write(t, bad)
			time.Sleep(2 * time.Minute)
			if got := f.used(); got != "a" {
				t.Errorf("%q is in use", got)
			}
		}
		log := f.log.String()
		if n := strings.Count(log, "has 5 bytes, at least 16 are needed"); n != 2 {
			t.Errorf("the short key is logged %d times, it was written twice: %s", n, log)
		}
		f.write(t, secretOf("a", "b"))
		if got := f.used(); got != "ab" {
			t.Errorf("after the repair %q is in use", got)
		}
	})
}

func TestSpeakerThatWaitsForItsKeySaysWhy(t *testing.T) {
	forbidden := func(c *fake.Clientset) {
		c.PrependReactor("list", "secrets", func(k8stesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("forbidden")
		})
	}
	short := secretOf("a", "")
	short.Data[memberkey.DataKey] = []byte("short")
	for name, tt := range map[string]struct {
		objects []runtime.Object
		change  func(*fake.Clientset)
		want    string
	}{
		"no Secret":   {nil, nil, "the cloud controller manager that leads creates it"},
		"no right":    {nil, forbidden, "forbidden; check the RBAC rules"},
		"a short key": {[]runtime.Object{short}, nil, "at least 16 are needed; delete the Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.objects...)
			if tt.change != nil {
				tt.change(client)
			}
			w, err := newKeyWatcher(client, namespace, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var work sync.WaitGroup
			work.Go(func() { _ = w.Run(ctx) })
			defer work.Wait()
			defer cancel()
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				_, err := w.read(ctx)
				if err != nil && strings.Contains(err.Error(), tt.want) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %v, want %q", err, tt.want)
				}
			}
		})
	}
}

func TestSpeakerWatchesOnlyItsSecret(t *testing.T) {
	client := fake.NewClientset()
	w, err := newKeyWatcher(client, namespace, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = w.Run(ctx) })
	for deadline := time.Now().Add(30 * time.Second); !w.synced(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the Secret is not listed")
		}
	}
	cancel()
	work.Wait()
	seen := 0
	for _, action := range client.Actions() {
		var selector string
		switch a := action.(type) {
		case k8stesting.ListAction:
			selector = a.GetListRestrictions().Fields.String()
		case k8stesting.WatchAction:
			selector = a.GetWatchRestrictions().Fields.String()
		}
		seen++
		if selector != "metadata.name=memberlist" || action.GetNamespace() != namespace {
			t.Errorf("%s of %q in %q: the role allows only one name", action.GetVerb(), selector, action.GetNamespace())
		}
	}
	if seen == 0 {
		t.Error("no request was seen")
	}
}
