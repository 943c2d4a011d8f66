package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// podPosts makes pods do something.
type podPosts interface {
	// post sends a request without a body to a pod, and passes the body of the answer to read.
	post(ctx context.Context, pod *v1.Pod, port uint16, path string, read func(io.Reader) error) error
}

func (p portForward) post(ctx context.Context, pod *v1.Pod, port uint16, path string, read func(io.Reader) error) error {
	conn, err := p.dial(ctx, pod)
	if err != nil {
		return fmt.Errorf("connecting to pod %s: %w", pod.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // what waits for the pod fails then
	err = withStream(conn, 0, port, func(data io.ReadWriter) error { return exchangePost(data, path, read) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// exchangePost sends a request, and passes the body of the answer to read. A refusal is an error with the
// words of the pod.
func exchangePost(stream io.ReadWriter, path string, read func(io.Reader) error) error {
	request, err := http.NewRequest(http.MethodPost, "http://127.0.0.1"+path, nil)
	if err != nil {
		return err
	}
	request.Close = true
	if err := request.Write(stream); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(stream), request)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return read(response.Body)
	case http.StatusNotFound:
		return errors.New("the speaker is too old for this command")
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // without it, the status must do
	return errors.New(cmp.Or(strings.TrimSpace(string(text)), "the answer is "+response.Status))
}

// findSpeakers returns the pods of the speakers, in the order of their nodes.
func (o *options) findSpeakers(ctx context.Context, client kubernetes.Interface) ([]diagnose.Speaker, error) {
	pods, err := client.CoreV1().Pods(o.configMap.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of namespace %s: %w", o.configMap.Namespace, err)
	}
	speakers, _ := programsOf(pods.Items)
	if len(speakers) == 0 {
		return nil, fmt.Errorf("no speaker runs in namespace %s: kubectl baremetal status says more; if the product is in another namespace, set --config-map", o.configMap.Namespace)
	}
	return speakers, nil
}

// postAll posts to all speakers, to so many at the same time, and each has the timeout to answer. read gets the answer of speaker i, from any
// goroutine. The result has an error for each speaker, nil if read has returned nil.
func postAll(ctx context.Context, posts podPosts, speakers []diagnose.Speaker, path string, atOnce int, timeout time.Duration, read func(i int, body io.Reader) error) []error {
	failures := make([]error, len(speakers))
	var work sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range speakers {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			port, err := portOf(speakers[i].Pod, speakerProgram, speakerAddressFlag, speakerAddress)
			if err == nil {
				ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer(timeout))
				defer cancel()
				err = posts.post(ctx, speakers[i].Pod, port, path, func(body io.Reader) error { return read(i, body) })
			}
			failures[i] = err
		})
	}
	work.Wait()
	return failures
}
