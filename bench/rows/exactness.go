package rows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ottla/bench/bed"
	"ottla/bench/results"
	"ottla/internal/storm"
)

// exactProducers is how many producers are asked again in each row, with five batches each.
const exactProducers = 1000

// exactOthersCome is how many others come between a producer's batches and their retry: Kafka takes a minute for them.
const exactOthersCome = 1_000_000

// Exactness is whether a retry is recognised.
func Exactness() Section {
	return Section{
		Section: results.Section{
			Name: "exactness", Title: "Is a retry recognised?", Row: "the last five batches of a producer, sent again",
			About: fmt.Sprintf("`ottla storm --batches-per-producer 5 --retry-sample %d --sample-out FILE`, later `ottla storm --retry FILE`: each of %s producers sends five batches, all are acknowledged, "+
				"and all are sent again. Exact is no error and the original offset; a duplicate is no error and another offset: the record is in the log twice; the rest are errors, which a client takes for data loss.",
				exactProducers, rounded(exactProducers)),
			Metrics: []results.Metric{
				metric("exact", "recognised, of "+rounded(5*exactProducers), "", results.Higher),
				metric("duplicates", "written twice", "", results.Lower),
				metric("refused", "refused", "", results.Lower),
				metric("errors", "with", "", results.Fact),
			},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			t := &stormTable{"exactness", b, p, record}
			others := p.scaled(exactOthersCome, 10_000)
			errs := []error{t.exactness(ctx, results.Kafka, others), t.exactness(ctx, results.Ottla, others)}
			if errs[0] != nil && errs[1] != nil {
				return errors.Join(errs...)
			}
			return ctx.Err()
		},
	}
}

// The rows, in the order of the table.
const (
	exactAtOnce = "at once"
	exactOthers = "after %s other producers"
	exactClean  = "after a clean restart"
	exactOld    = "after a clean restart, records dated two days ago"
	exactKilled = "after kill -9"
)

// exactRun is one broker that is asked.
type exactRun struct {
	*stormTable
	k *bed.Broker
}

// sample makes producers whose batches are to be sent again, on a topic of their own, and returns how the broker answers
// the retries that follow at once.
func (e *exactRun) sample(ctx context.Context, name string, args ...string) (*storm.Retry, error) {
	n := strconv.Itoa(exactProducers)
	s, err := e.storm(ctx, e.k, append([]string{
		"-n", n, "--batches-per-producer", "5", "--retry-sample", n, "--sample-out", e.file(name), "--topic", storm.TopicPrefix + name, "--keep",
	}, args...)...)
	return s.Retry, err
}

func (e *exactRun) file(name string) string {
	return filepath.Join(e.bed.Work, "sample-"+string(e.k.Kind)+"-"+name)
}

// retry sends a sample again and records what is answered.
func (e *exactRun) retry(ctx context.Context, row, name string) {
	s, err := e.storm(ctx, e.k, "--retry", e.file(name))
	if err == nil && s.Retry == nil {
		err = errors.New("no retry in the summary")
	}
	if err != nil {
		e.fail(row, e.k.Kind, 1, 0, err)
		return
	}
	e.record(exactSample(row, e.k.Kind, s.Retry))
}

func exactSample(row string, kind results.Broker, r *storm.Retry) results.Sample {
	refused := int64(0)
	for _, n := range r.Refused {
		refused += n
	}
	text := cmp.Or(strings.Join(slices.Sorted(maps.Keys(r.Refused)), ", "), "none")
	return results.Sample{
		Section: "exactness", Row: row, Broker: kind, Round: 1,
		Values: map[string]float64{"exact": float64(r.Exact), "duplicates": float64(r.Duplicated), "refused": float64(refused)},
		Texts:  map[string]string{"errors": text},
	}
}

func (t *stormTable) exactness(ctx context.Context, kind results.Broker, others int64) error {
	k, err := t.bed.Start(ctx, kind, bed.Options{})
	if err != nil {
		t.fail(exactAtOnce, kind, 1, 0, err)
		return err
	}
	e := &exactRun{t, k}
	defer func() { remove(e.k) }()
	if err := e.all(ctx, others); err != nil {
		t.fail(exactAtOnce, kind, 1, 0, err)
	}
	return nil
}

func (e *exactRun) all(ctx context.Context, others int64) error {
	r, err := e.sample(ctx, "hot")
	if err != nil || r == nil {
		return errors.Join(errors.New("no sample"), err)
	}
	e.record(exactSample(exactAtOnce, e.k.Kind, r))

	if _, err := e.sample(ctx, "others"); err != nil {
		return err
	}
	s, err := e.storm(ctx, e.k, "-n", strconv.FormatInt(others, 10), "--max-seconds", "180", "--record-bytes", "0", "--topic", storm.TopicPrefix+"others", "--reuse-topic", "--keep")
	if err != nil {
		return err
	}
	if came := load(s).Producers; came < others {
		return fmt.Errorf("%s of %s other producers came: %s", rounded(came), rounded(others), s.Ended)
	}
	e.retry(ctx, fmt.Sprintf(exactOthers, rounded(others)), "others")

	_, err = e.sample(ctx, "clean")
	if err == nil {
		_, err = e.sample(ctx, "old", "--ahead", "-48h")
	}
	if err == nil {
		_, err = e.k.Stop()
	}
	if err == nil {
		e.k, _, _, err = e.again(ctx, e.k, storm.TopicPrefix+"clean")
	}
	if err != nil {
		return err
	}
	e.retry(ctx, exactClean, "clean")
	e.retry(ctx, exactOld, "old")

	if _, err = e.sample(ctx, "killed"); err == nil {
		err = e.k.Kill()
	}
	if err == nil {
		e.k, _, _, err = e.again(ctx, e.k, storm.TopicPrefix+"killed")
	}
	if err != nil {
		return err
	}
	e.retry(ctx, exactKilled, "killed")
	return nil
}
