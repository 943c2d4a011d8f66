package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestDebugPagesAreServedWhileTheCommandRuns(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	get := func() (doc debugapi.Allocations, err error) {
		response, err := http.Get("http://" + address + debugapi.AllocationsPath)
		if err != nil {
			return doc, err
		}
		defer response.Body.Close()
		return doc, json.NewDecoder(response.Body).Decode(&doc)
	}
	ran := errors.New("the command ran")
	run := func(*cobra.Command, []string) error {
		doc, err := get()
		if err != nil || doc.Check(debugapi.AllocationsKind) != nil || doc.Leader {
			t.Errorf("document %+v, error %v", doc, err)
		}
		return ran
	}
	pages := cloudprovider.NewDebug(log).Handler()
	if err := withDebugPages(run, &address, pages, log)(nil, nil); !errors.Is(err, ran) {
		t.Errorf("the command returned %v", err)
	}
	if _, err := get(); err == nil {
		t.Error("the pages are served after the end of the command")
	}
}

func TestDebugAddressInUseIsAnErrorWithItsFlag(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	run := func(*cobra.Command, []string) error { t.Error("the command ran"); return nil }
	err = withDebugPages(run, &address, http.NotFoundHandler(), slog.New(slog.DiscardHandler))(nil, nil)
	if err == nil || !strings.Contains(err.Error(), "--debug-address") || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v", err)
	}
}
