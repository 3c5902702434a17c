package rows

import (
	"math"
	"slices"
	"strings"
	"testing"
)

const rdkafkaProduced = `% Sending 400000 messages of size 1024 bytes
|    elapsed |       msgs |      bytes |        rtt |         dr |     dr_m/s |    dr_MB/s |     dr_err |     tx_err |       outq |     offset 
|        501 |     100000 |  102400000 |          0 |          0 |          0 |       0.00 |          0 |         47 |     100000 |          0 
|        601 |     175426 |  179636224 |          0 |      75426 |     125292 |     128.30 |          0 |        126 |     100000 |      75425 
|        702 |     252785 |  258851840 |          0 |     153752 |     218890 |     224.14 |          0 |        207 |      99033 |     153751 
|    elapsed |       msgs |      bytes |        rtt |         dr |     dr_m/s |    dr_MB/s |     dr_err |     tx_err |       outq |     offset 
|        902 |     400000 |  409600000 |          0 |     312340 |     345985 |     354.29 |          0 |        359 |      87660 |     312339 
|       1003 |     400000 |  409600000 |          0 |     395503 |     394048 |     403.51 |          0 |        359 |       4497 |     395501 
|       1805 |     400000 |  409600000 |          0 |     399372 |     221186 |     226.49 |          0 |        359 |        628 |     399369 
% 359 backpressures for 400000 produce calls: 0.090% backpressure rate
|       1891 |     400000 |  409600000 |          0 |     400000 |     211458 |     216.53 |          3 |        359 |          0 |     399997 
`

const rdkafkaConsumed = `|    elapsed |       msgs |      bytes |        rtt |        m/s |       MB/s |     rx_err |     offset 
|          0 |          0 |          0 |          0 |          0 |       0.00 |          0 |          0 
|        100 |     235643 |  241298432 |          0 |    2343493 |    2399.74 |          0 |     185662 
|        165 |     400033 |  409633792 |          0 |    2413923 |    2471.86 |          2 |     350052 
% Average application fetch latency: 1us
`

const javaProduced = `Warmup first 200000 records. Steady state results will print after the complete test summary.
499713 records sent, 99942.6 records/sec (97.60 MB/sec), 188.7 ms avg latency, 327.0 ms max latency.
600000 records sent, 135104.706147 records/sec (131.94 MB/sec), 188.69 ms avg latency, 327.00 ms max latency, 182 ms 50th, 282 ms 95th, 303 ms 99th, 312 ms 99.9th.
400000 steady state records sent, 155763.239875 records/sec (152.11 MB/sec), 165.71 ms avg latency, 243.00 ms max latency, 168 ms 50th, 197 ms 95th, 224 ms 99th, 234 ms 99.9th.
`

const javaConsumed = `2026-11-23 11:40:35:772, 2026-11-23 11:40:39:907, 390.8418, 94.5204, 400222, 96788.8755, 3247, 888, 440.1372, 450700.4505
`

func TestReadTools(t *testing.T) {
	producer := func(out string) (moved, error) { return readRdkafkaProducer(out, 400_000) }
	for _, c := range []struct {
		name string
		read func(string) (moved, error)
		out  string
		want moved
	}{
		{"librdkafka producer", producer, rdkafkaProduced, moved{400_000, (395503.0 - 153752) / (1003 - 702) * 1000, 3, 0}},
		{"librdkafka consumer", readRdkafkaConsumer, rdkafkaConsumed, moved{400_033, 400_033 / 0.165, 0, 2}},
		{"Java producer", readJavaProducer, javaProduced, moved{600_000, 155763.239875, 0, 0}},
		{"Java consumer", readJavaConsumer, javaConsumed, moved{400_222, 400_222 / 0.888, 0, 0}},
	} {
		got, err := c.read(c.out)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if math.Abs(got.recordsPerSec-c.want.recordsPerSec) > 0.001 {
			t.Errorf("%s: %v records a second, want %v", c.name, got.recordsPerSec, c.want.recordsPerSec)
		}
		if got.recordsPerSec = c.want.recordsPerSec; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		for _, broken := range []string{"", "no such thing\n", c.out[:len(c.out)/10]} {
			if got, err := c.read(broken); err == nil {
				t.Errorf("%s: %q is read as %+v", c.name, broken, got)
			}
		}
	}
}

// A producer that stopped early, or that was over within one row, has no speed.
func TestTooFewDelivered(t *testing.T) {
	for _, count := range []int64{1_000_000, 10} {
		if m, err := readRdkafkaProducer(rdkafkaProduced, count); err == nil {
			t.Errorf("of %d records: %+v", count, m)
		}
	}
}

// TestInTurn: over as many rounds as there are brokers each is once in every place.
func TestInTurn(t *testing.T) {
	var got []string
	for round := range 4 {
		got = append(got, strings.Join(inTurn(round, "k", "o", "n"), ""))
	}
	if want := []string{"kon", "kon", "onk", "nko"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
