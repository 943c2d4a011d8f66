package cloudprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// StatusAnnotation is the annotation of the operator's ConfigMap that says whether its
// content is in use, or why it was refused.
const StatusAnnotation = "lb.baremetal/status"

const (
	// publishEvery is the shortest time between two publications.
	publishEvery = 100 * time.Millisecond
	// publishAgain is the time after which a failed publication is tried again.
	publishAgain = 5 * time.Second
)

// runPublisher publishes what the speakers and the next leader need, after every change,
// until ctx ends. Before the adoption it only writes the annotation.
func (c *Cloud) runPublisher(ctx context.Context) {
	for {
		select {
		case <-c.publish.C():
		case <-ctx.Done():
			return
		}
		pause := publishEvery
		if err := c.publishAll(ctx); err != nil && ctx.Err() == nil {
			pause = publishAgain
			if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
				pause = publishEvery // the watch delivers the newer version soon
			} else {
				c.log.Error("publishing the configuration in use failed, retrying", "error", err)
			}
			c.publish.Set()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (c *Cloud) publishAll(ctx context.Context) error {
	if !c.isAdopted() {
		return c.annotateConfig(ctx) // before the adoption nothing is in use
	}
	// If one fails, the others must not wait for it.
	return errors.Join(c.publishInUse(ctx), c.tidyNodeLinks(ctx), c.annotateConfig(ctx))
}

// publishInUse writes the ConfigMap InUse.
func (c *Cloud) publishInUse(ctx context.Context) error {
	c.mu.Lock()
	text := c.using.Text // the orphans are those of this configuration, which may not be the newest
	orphans, err := config.EncodeOrphans(c.allocator.AllOrphans())
	c.mu.Unlock()
	if err != nil {
		return err
	}
	ref := c.options.ConfigMap
	data := map[string]string{configmap.Key: text, configmap.OrphansKey: string(orphans)}
	if withheld := c.tracker.withheld(c.config.InUse().Withheld); len(withheld) > 0 {
		text, err := json.Marshal(withheld)
		if err != nil {
			return fmt.Errorf("encoding the withheld addresses: %w", err)
		}
		data[configmap.WithheldKey] = string(text)
	}
	api := c.client.CoreV1().ConfigMaps(ref.Namespace)
	before := c.config.InUse().Object
	if before == nil {
		_, err = api.Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.InUse(), Annotations: map[string]string{
			"lb.baremetal/about": "Written by the cloud controller manager: the configuration in use, the addresses that no pool has any more, and those that are withheld. Do not edit.",
		}}, Data: data}, metav1.CreateOptions{})
	} else if !maps.Equal(before.Data, data) {
		after := before.DeepCopy()
		after.Data = data
		_, err = api.Update(ctx, after, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", ref.Namespace, ref.InUse(), err)
	}
	return nil
}

// tidyNodeLinks creates the ConfigMap NodeLinks, because the speakers may only patch it. It
// also removes the nodes that do not exist any more.
func (c *Cloud) tidyNodeLinks(ctx context.Context) error {
	ref := c.options.ConfigMap
	api := c.client.CoreV1().ConfigMaps(ref.Namespace)
	links := c.config.Nodes()
	if links == nil {
		_, err := api.Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.NodeLinks(), Annotations: map[string]string{
			"lb.baremetal/about": "Written by the speakers: the addresses of the nodes and of their gateways, which no Service gets, the networks of the nodes, and conflicts. Do not edit.",
		}}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating ConfigMap %s/%s: %w", ref.Namespace, ref.NodeLinks(), err)
		}
		return nil
	}
	gone := map[string]any{}
	for node := range links {
		if _, err := c.nodes.Get(node); apierrors.IsNotFound(err) {
			gone[node] = nil
		}
	}
	if len(gone) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": gone})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	if _, err := api.Patch(ctx, ref.NodeLinks(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing deleted nodes from ConfigMap %s/%s: %w", ref.Namespace, ref.NodeLinks(), err)
	}
	return nil
}

// annotateConfig writes on the operator's ConfigMap whether its content is in use.
func (c *Cloud) annotateConfig(ctx context.Context) error {
	state := c.config.State()
	if state.Object == nil {
		return nil
	}
	text := describeState(state)
	if state.Object.Annotations[StatusAnnotation] == text {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": state.Object.UID, "annotations": map[string]string{StatusAnnotation: text},
	}})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	ref := c.options.ConfigMap
	_, err = c.client.CoreV1().ConfigMaps(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the annotation %s to ConfigMap %s: %w", StatusAnnotation, &ref, err)
	}
	return nil
}
