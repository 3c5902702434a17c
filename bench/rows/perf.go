package rows

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// moved is what a perf tool says that it has moved, and at which speed in its steady state.
type moved struct {
	records        int64 // in all
	recordsPerSec  float64
	failed, errors int64 // deliveries that failed, and answers with errors
}

// The part of a producer's run that counts: from its first quarter, where connections, the producer id and the tool's own
// compiler are behind it, to almost its end, where batches are no longer full.
const (
	steadyFrom = 0.25
	steadyTo   = 0.95
)

// table reads the rows of numbers of rdkafka_performance -u, by the titles of their columns.
func table(out string) (rows []map[string]float64) {
	var titles []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		fields := strings.Fields(strings.ReplaceAll(line, "|", " "))
		if len(fields) > 0 && fields[0] == "elapsed" {
			titles = fields
			continue
		}
		row := map[string]float64{}
		for i, field := range fields {
			if v, err := strconv.ParseFloat(field, 64); err == nil && i < len(titles) {
				row[titles[i]] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// readRdkafkaProducer takes the speed between the rows at which a quarter and at which 95 % were delivered.
func readRdkafkaProducer(out string, count int64) (moved, error) {
	rows := table(out)
	if len(rows) == 0 {
		return moved{}, fmt.Errorf("rdkafka_performance printed no row")
	}
	last := rows[len(rows)-1]
	m := moved{records: int64(last["dr"]), failed: int64(last["dr_err"])}
	var from, to map[string]float64
	for _, row := range rows {
		if from == nil && row["dr"] >= steadyFrom*float64(count) {
			from = row
		}
		if to == nil && row["dr"] >= steadyTo*float64(count) {
			to = row
		}
	}
	if from == nil || to == nil || to["elapsed"] <= from["elapsed"] {
		return m, fmt.Errorf("rdkafka_performance delivered %d of %d records, too few or too fast to measure", m.records, count)
	}
	m.recordsPerSec = (to["dr"] - from["dr"]) / (to["elapsed"] - from["elapsed"]) * 1000
	return m, nil
}

// readRdkafkaConsumer takes the last row, whose time begins with the first record.
func readRdkafkaConsumer(out string) (moved, error) {
	rows := table(out)
	if len(rows) == 0 {
		return moved{}, fmt.Errorf("rdkafka_performance printed no row")
	}
	last := rows[len(rows)-1]
	m := moved{records: int64(last["msgs"]), errors: int64(last["rx_err"])}
	if last["elapsed"] <= 0 {
		return m, fmt.Errorf("rdkafka_performance read %d records, too few to measure", m.records)
	}
	m.recordsPerSec = last["msgs"] / last["elapsed"] * 1000
	return m, nil
}

var (
	totalLine  = regexp.MustCompile(`(?m)^(\d+) records sent, .* 99\.9th\.$`)
	steadyLine = regexp.MustCompile(`(?m)^\d+ steady state records sent, ([0-9.]+) records/sec`)
)

// readJavaProducer takes the line of ProducerPerformance after its --warmup-records.
func readJavaProducer(out string) (moved, error) {
	total, steady := totalLine.FindStringSubmatch(out), steadyLine.FindStringSubmatch(out)
	if total == nil || steady == nil {
		return moved{}, fmt.Errorf("ProducerPerformance printed no line of totals and of its steady state: %q", lastLine(out))
	}
	records, err := strconv.ParseInt(total[1], 10, 64)
	if err != nil {
		return moved{}, err
	}
	perSec, err := strconv.ParseFloat(steady[1], 64)
	return moved{records: records, recordsPerSec: perSec}, err
}

// readJavaConsumer takes the last line of ConsumerPerformance --hide-header: the records and the time without that in which
// the group was formed.
func readJavaConsumer(out string) (moved, error) {
	fields := strings.Split(lastLine(out), ", ")
	const records, fetchMillis, columns = 4, 7, 10
	if len(fields) != columns {
		return moved{}, fmt.Errorf("ConsumerPerformance printed no line of totals: %q", lastLine(out))
	}
	n, err := strconv.ParseInt(fields[records], 10, 64)
	if err != nil {
		return moved{}, err
	}
	took, err := strconv.ParseFloat(fields[fetchMillis], 64)
	if err != nil || took <= 0 {
		return moved{}, fmt.Errorf("ConsumerPerformance fetched for %q ms", fields[fetchMillis])
	}
	return moved{records: n, recordsPerSec: float64(n) / took * 1000}, nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
