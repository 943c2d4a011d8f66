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
	if errA != nil || errB != nil || len(a.Send) != 32 || a.Accepted != nil || a.Equal(b) {
		t.Errorf("%x %v, %x %v", a, errA, b, errB)
	}
}

func TestReadReturnsBothKeys(t *testing.T) {
	secret := memberkey.New("ns")
	first, second := secret.Data[memberkey.DataKey], bytes.Repeat([]byte{1}, memberkey.MinLength)
	secret.Data[memberkey.AcceptedDataKey] = second
	if got, err := memberkey.Read(secret); err != nil || !got.Equal(memberkey.Keys{Send: first, Accepted: second}) {
		t.Errorf("%x, %v", got, err)
	}
	secret.Data[memberkey.AcceptedDataKey] = nil
	if got, err := memberkey.Read(secret); err != nil || got.Accepted != nil {
		t.Errorf("an empty second key is none: %x, %v", got, err)
	}
}

func TestReadSaysHowToRepairABadSecret(t *testing.T) {
	good, short := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{1}, 15)
	for name, tt := range map[string]struct {
		data          map[string][]byte
		problem, cure string
	}{
		"no data":               {nil, `the Secret ns/memberlist has no "secretkey"`, "delete the Secret"},
		"another key":           {map[string][]byte{"key": good}, `the Secret ns/memberlist has no "secretkey"`, "delete the Secret"},
		"empty":                 {map[string][]byte{"secretkey": {}}, `the Secret ns/memberlist has no "secretkey"`, "delete the Secret"},
		"only the accepted":     {map[string][]byte{"secretkey-accepted": good}, `the Secret ns/memberlist has no "secretkey"`, "delete the Secret"},
		"short":                 {map[string][]byte{"secretkey": short}, `"secretkey" in the Secret ns/memberlist has 15 bytes, at least 16`, "delete the Secret"},
		"the accepted is short": {map[string][]byte{"secretkey": good, "secretkey-accepted": short}, `"secretkey-accepted" in the Secret ns/memberlist has 15 bytes, at least 16`, "write a longer key"},
	} {
		secret := memberkey.New("ns")
		secret.Data = tt.data
		if _, err := memberkey.Read(secret); err == nil || !strings.Contains(err.Error(), tt.problem) || !strings.Contains(err.Error(), tt.cure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := memberkey.Read(&v1.Secret{}); err == nil {
		t.Error("the zero Secret has a key")
	}
}
