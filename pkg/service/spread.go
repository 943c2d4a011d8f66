package service

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// SpreadAnnotation says whether all nodes should carry the flows of the addresses, "true" or
// "false".
const SpreadAnnotation = "lb.baremetal/spread"

// Spread returns whether svc asks for its flows to be spread over all nodes; nil if its pool
// decides.
func Spread(svc *v1.Service) (wish *bool, err error) {
	switch text := svc.Annotations[SpreadAnnotation]; text {
	case "":
		return nil, nil
	case "true", "false":
		yes := text == "true"
		return &yes, nil
	default:
		return nil, fmt.Errorf("annotation %s: %s is neither \"true\" nor \"false\"", SpreadAnnotation, quote.Short(text))
	}
}
