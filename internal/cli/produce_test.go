package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestProduceToABrokerThatDies: a broker that takes a batch and never answers ends a produce after its timeout, with what is not known.
func TestProduceToABrokerThatDies(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dead := make(chan struct{})
	defer close(dead)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		<-dead
		return nil, nil, false
	})
	var out, errs bytes.Buffer
	code := Run(t.Context(), Env{Args: []string{"produce", "orders", "-b", c.ListenAddrs()[0], "--timeout", "1s"},
		Stdin: strings.NewReader("one\ntwo\n"), Stdout: &out, Stderr: &errs})
	if code != 1 || !strings.Contains(errs.String(), "0 records written to orders") || !strings.Contains(errs.String(), "the last 2 records may be written or not") {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
