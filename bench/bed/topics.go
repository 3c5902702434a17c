package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// topicWithin is how long a topic may take to come or to go: 10,000 partitions take Kafka most of a minute.
const topicWithin = 5 * time.Minute

// partitionsAtOnce is how many partitions one request makes: Kafka's controller refuses what takes 10,000 records or more with
// POLICY_VIOLATION (QuorumController.MAX_RECORDS_PER_USER_OP), and a topic itself is one.
const partitionsAtOnce = 5000

// CreateTopic creates a topic and waits until its partitions have leaders. The null servers have every topic already.
func (k *Broker) CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	if k.Kind.Limit() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, topicWithin)
	defer cancel()
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(topicWithin.Milliseconds()))
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	if _, err := admin.CreateTopic(ctx, int32(min(partitions, partitionsAtOnce)), 1, values, name); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	for made := partitionsAtOnce; made < partitions; made += partitionsAtOnce {
		// Kafka has answered before its own metadata knows the topic, and then does not add to it.
		if err := k.awaitLeaders(ctx, admin, name, made); err != nil {
			return err
		}
		answers, err := admin.CreatePartitions(ctx, min(partitions-made, partitionsAtOnce), name)
		if err = errors.Join(err, answers.Error()); err != nil {
			return fmt.Errorf("partitions from %d on of topic %s: %w", made, name, err)
		}
	}
	return k.awaitLeaders(ctx, admin, name, partitions)
}

// awaitLeaders waits until a topic has so many partitions, each with a leader.
func (k *Broker) awaitLeaders(ctx context.Context, admin *kadm.Client, name string, partitions int) error {
	err := k.await(ctx, func() bool {
		known, err := admin.Metadata(ctx, name)
		if err != nil || len(known.Topics[name].Partitions) != partitions {
			return false
		}
		for _, p := range known.Topics[name].Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("leaders of topic %s: %w", name, err)
	}
	return nil
}

// DeleteTopic deletes a topic and waits until its files are gone, so that the next row finds the same page cache and
// the same disk.
func (k *Broker) DeleteTopic(ctx context.Context, name string) error {
	if k.Kind.Limit() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, topicWithin)
	defer cancel()
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(ctx, name); err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	var looked error
	err = k.await(ctx, func() bool {
		left, err := hasTopic(k.Data, name)
		looked = err
		return err != nil || !left
	})
	if err = errors.Join(err, looked); err != nil {
		return fmt.Errorf("files of topic %s: %w", name, err)
	}
	return nil
}

// hasTopic looks for directories of a topic's partitions, NAME-PARTITION, and of those that Kafka has yet to remove,
// NAME-PARTITION.ID-delete.
func hasTopic(data, name string) (bool, error) {
	entries, err := os.ReadDir(data)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		rest, found := strings.CutPrefix(e.Name(), name+"-")
		rest, _, _ = strings.Cut(rest, ".")
		if _, err := strconv.Atoi(rest); found && err == nil {
			return true, nil
		}
	}
	return false, nil
}
