package cloudprovider

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// keeper runs ensureMemberKey inside a synctest bubble, until the test ends.
func keeper(t *testing.T, client *fake.Clientset) {
	c := &Cloud{options: Options{ConfigMap: configmap.DefaultRef}, log: slog.New(slog.DiscardHandler), client: client}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.ensureMemberKey(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
}

func memberKey(t *testing.T, client *fake.Clientset) []byte {
	t.Helper()
	s, err := client.CoreV1().Secrets("baremetal-system").Get(t.Context(), "memberlist", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Data["secretkey"]
}

func TestMemberKeyIsMadeWhenTheManagerBegins(t *testing.T) {
	r := start(t)
	r.eventually("there is a key", func() bool {
		_, err := r.client.CoreV1().Secrets("baremetal-system").Get(t.Context(), "memberlist", metav1.GetOptions{})
		return err == nil
	})
}

func TestMemberKeyIsMadeAgainAfterADeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		keeper(t, client)
		first := memberKey(t, client)
		if len(first) != 32 {
			t.Errorf("the key has %d bytes", len(first))
		}
		time.Sleep(time.Hour)
		if !bytes.Equal(memberKey(t, client), first) {
			t.Error("the key has changed")
		}
		if err := client.CoreV1().Secrets("baremetal-system").Delete(t.Context(), "memberlist", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(memberKeyInterval)
		synctest.Wait()
		if second := memberKey(t, client); len(second) != 32 || bytes.Equal(second, first) {
			t.Error("there is no new key")
		}
	})
}

func TestMemberKeyOfTheOperatorStaysAndIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "memberlist"}, Data: map[string][]byte{"secretkey": []byte("mine")}}
		client := fake.NewClientset(mine)
		keeper(t, client)
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, action := range client.Actions() {
			if action.GetVerb() != "create" {
				t.Errorf("the cluster manager sends %s %s, its role allows only create", action.GetVerb(), action.GetResource().Resource)
			}
		}
		if string(memberKey(t, client)) != "mine" {
			t.Error("the key was replaced")
		}
	})
}
