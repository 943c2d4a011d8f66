package memberkey_test

import (
	"bytes"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

func TestNewKeysAreLongAndDiffer(t *testing.T) {
	a, errA := memberkey.Read(memberkey.New("ns"))
	b, errB := memberkey.Read(memberkey.New("ns"))
	if errA != nil || errB != nil || len(a) != 32 || bytes.Equal(a, b) {
		t.Errorf("%x %v, %x %v", a, errA, b, errB)
	}
}

func TestReadSaysHowToRepairASecretWithoutKey(t *testing.T) {
	for name, data := range map[string]map[string][]byte{
		"no data":     nil,
		"another key": {"key": []byte("x")},
		"empty":       {memberkey.DataKey: {}},
	} {
		secret := memberkey.New("ns")
		secret.Data = data
		if _, err := memberkey.Read(secret); err == nil || !strings.Contains(err.Error(), `Secret ns/memberlist has no "secretkey"`) || !strings.Contains(err.Error(), "delete the Secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := memberkey.Read(&v1.Secret{}); err == nil {
		t.Error("the zero Secret has a key")
	}
}
