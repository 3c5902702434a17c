package collect

import (
	"maps"
	"strings"
	"testing"

	"ottla/internal/investigate/evidence"
)

func TestReadMetrics(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       map[string]float64
	}{
		{"client_java 0.x", `# HELP jvm_memory_bytes_max x
# TYPE jvm_memory_bytes_max gauge
jvm_memory_bytes_max{area="heap",} 1.073741824E9
jvm_memory_bytes_max{area="nonheap",} -1.0
jvm_memory_bytes_used{area="heap",} 5.0E8
jvm_memory_bytes_used{area="nonheap",} 9.0E7
jvm_memory_pool_bytes_used{pool="G1 Old Gen",} 4.0E8
jvm_memory_pool_collection_used_bytes{pool="G1 Old Gen",} 3.0E8
jvm_memory_pool_collection_used_bytes{pool="G1 Eden Space",} 0.0
kafka_server_replicamanager_value{name="ProducerIdCount",} 273000.0
kafka_network_requestmetrics_count{name="RequestsPerSec",request="InitProducerId",version="4",} 40.0
kafka_network_requestmetrics_count{name="RequestsPerSec",request="InitProducerId",version="5",} 2.0
kafka_network_requestmetrics_count{name="RequestsPerSec",request="Produce",version="12",} 100.0
kafka_network_requestmetrics_oneminuterate{name="RequestsPerSec",request="InitProducerId",version="5",} 7.0
kafka_network_requestmetrics_count{name="TotalTimeMs",request="InitProducerId",} 42.0
`, map[string]float64{
			evidence.MetricHeapMax: 1073741824, evidence.MetricHeapUsed: 5e8, evidence.MetricHeapAfterGC: 3e8, evidence.MetricProducerIDs: 273000,
			evidence.MetricInits: 42, evidence.MetricProduces: 100,
		}},
		{"client_java 1.x, upper case, a time", `jvm_memory_max_bytes{area="heap"} 2.68435456E8 1700000000000
jvm_memory_used_bytes{area="heap"} 1E8
kafka_server_ReplicaManager_ProducerIdCount 12
kafka_network_RequestMetrics_RequestsPerSec_total{request="InitProducerId",version="4"} 3
`, map[string]float64{evidence.MetricHeapMax: 268435456, evidence.MetricHeapUsed: 1e8, evidence.MetricProducerIDs: 12, evidence.MetricInits: 3}},
		{"the JVM's bean by the exporter's default", `java_lang_Memory_HeapMemoryUsage_max 4.294967296E9
java_lang_Memory_HeapMemoryUsage_used 1.0E9
java_lang_Memory_NonHeapMemoryUsage_max -1.0
java_lang_Memory_NonHeapMemoryUsage_used 1.0E8
`, map[string]float64{evidence.MetricHeapMax: 4294967296, evidence.MetricHeapUsed: 1e9}},
		{"both at once count once", `jvm_memory_bytes_max{area="heap"} 100
java_lang_Memory_HeapMemoryUsage_max 100
`, map[string]float64{evidence.MetricHeapMax: 100}},
		{"Micrometer's pools", `jvm_memory_max_bytes{area="heap",id="G1 Eden Space",} -1.0
jvm_memory_max_bytes{area="heap",id="G1 Old Gen",} 100
jvm_memory_used_bytes{area="heap",id="G1 Eden Space",} 20
jvm_memory_used_bytes{area="heap",id="G1 Old Gen",} 30
`, map[string]float64{evidence.MetricHeapMax: 100, evidence.MetricHeapUsed: 50}},
		{"Redpanda", `redpanda_memory_allocated_memory{shard="0"} 10
redpanda_memory_allocated_memory{shard="1"} 20
redpanda_memory_available_memory{shard="0"} 5
`, map[string]float64{evidence.MetricMemoryUsed: 30, evidence.MetricMemoryAvailable: 5}},
		{"Ottla", `ottla_producer_entries{place="cold"} 18928
ottla_producer_entries{place="hot"} 20000
ottla_producer_ids_issued_total 20001
ottla_request_seconds_count{api="InitProducerId"} 20001
ottla_request_seconds_count{api="Produce"} 7
ottla_request_seconds_bucket{api="Produce",le="+Inf"} 7
ottla_producer_memory_budget_bytes 3.3554432e+07
`, map[string]float64{evidence.MetricProducerIDs: 20000, evidence.MetricIssued: 20001, evidence.MetricInits: 20001, evidence.MetricProduces: 7, evidence.MetricMemoryAvailable: 33554432}},
		{"an error page", "<html>\n<body>{}</body>", nil},
		{"a line without end, then a good one", "a{" + strings.Repeat("x", 3*metricsLineMax) + "} 1\njvm_memory_bytes_max{area=\"heap\"} 7", map[string]float64{evidence.MetricHeapMax: 7}},
		{"numbers that are none", "jvm_memory_bytes_max{area=\"heap\"} NaN\njvm_memory_bytes_used{area=\"heap\"} +Inf\njvm_memory_bytes_used{area=\"heap\"}", nil},
	} {
		got, err := readMetrics(strings.NewReader(test.text))
		if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

func FuzzReadMetrics(f *testing.F) {
	f.Add("jvm_memory_bytes_max{area=\"heap\",} 1.0E9 5\n# x\nkafka_server_replicamanager_value{name=\"ProducerIdCount\",} 3")
	f.Add("{} } {\n\n\x00 1")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readMetrics(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range got {
			if v < 0 || v != v {
				t.Errorf("%s = %v", name, v)
			}
		}
	})
}
