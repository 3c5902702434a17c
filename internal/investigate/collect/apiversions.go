package collect

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

const (
	apiVersionsBytes = 2 << 10
	// apiKeysMax is the longest list of APIs that is kept of one broker. Kafka 4.3 offers about 70.
	apiKeysMax = 1_000
)

var sourceAPIVersions = source{
	name: evidence.SourceAPIVersions, always: true, level0: true,
	what: "which APIs each broker offers: vendor and version", permissions: "none",
	run: askAPIVersions,
	most: func(s *step) (int64, int64) {
		n := int64(len(s.scan.Brokers))
		return n, n * apiVersionsBytes
	},
}

// askAPIVersions says the first words to each broker. Who does not answer them is silent from then on.
func askAPIVersions(ctx context.Context, s *step) error {
	brokers := map[int32]*evidence.Broker{}
	for i := range s.scan.Brokers {
		brokers[s.scan.Brokers[i].ID] = &s.scan.Brokers[i]
	}
	perBroker(ctx, s, oneEach(s.answering()), func(ctx context.Context, id int32, _ struct{}) {
		resp, err := s.apiVersions(ctx, id)
		if err != nil {
			s.trouble(err, "")
			if classify(err) == evidence.Failed && ctx.Err() == nil {
				s.silence(id)
			}
			s.write(func(*evidence.Scan) { brokers[id].Error = plain(err) })
			return
		}
		apis := make(map[int16]int16, len(resp.ApiKeys))
		for _, k := range resp.ApiKeys[:min(len(resp.ApiKeys), apiKeysMax)] {
			apis[k.ApiKey] = k.MaxVersion
		}
		s.write(func(scan *evidence.Scan) {
			brokers[id].Answered, brokers[id].APIs = true, apis
			s.brokers[id].versions = apis
			for _, f := range resp.FinalizedFeatures {
				if f.Name == "transaction.version" {
					scan.Cluster.TransactionVersion = max(scan.Cluster.TransactionVersion, f.MaxVersionLevel)
				}
			}
		})
		s.ok()
	})
	s.write(identify)
	return nil
}

func (s *session) apiVersions(ctx context.Context, broker int32) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "ottla-investigate", "1"
	r, err := s.askWithin(ctx, min(s.o.Timeout, firstTimeout), broker, req, apiVersionsBytes)
	if err != nil {
		return nil, err
	}
	resp, ok := r.(*kmsg.ApiVersionsResponse)
	switch {
	case !ok:
		return nil, errNothing
	case coded(resp.ErrorCode) != nil:
		return nil, fmt.Errorf("broker %d, ApiVersions: %w", broker, coded(resp.ErrorCode))
	case len(resp.ApiKeys) == 0:
		return nil, fmt.Errorf("broker %d, ApiVersions: %w", broker, errNothing)
	}
	return resp, nil
}

// silence keeps a broker from being asked again.
func (s *session) silence(broker int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.brokers[broker].silent = true
}
