package metrics

import (
	"io"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the page may grow to: a scrape every few seconds must stay cheap.
const (
	seriesMax    = 400
	pageBytesMax = 64 << 10
)

// labels are all labels there are. Each has its values in a table of this package; a label for what a client
// sends (its id, its address, a topic) does not belong here.
var labels = []string{"api", "limit", "reason", "place", "share", "outcome", "quantile", "version"}

func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range families {
		out[f.GetName()] = f
	}
	return out
}

func series(families map[string]*dto.MetricFamily) (n int) {
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

func TestLabelsAreBounded(t *testing.T) {
	m := New()
	before := series(gather(t, m))
	for key := range 1 << 16 {
		a := m.Server.API(int16(key + math.MinInt16))
		a.Observe(time.Duration(key) * time.Microsecond)
		a.Errors.Inc()
	}
	for r := range closeReasons {
		m.Server.Closed(r)
	}
	families := gather(t, m)
	if after := series(families); after != before || after > seriesMax {
		t.Errorf("%d series at the start, %d after requests with every key, at most %d", before, after, seriesMax)
	}
	for name, f := range families {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					t.Errorf("%s has a label %q", name, l.GetName())
				}
			}
		}
	}
}

// TestVectorsStayInside: a label value can only come from this package, because no vector leaves it.
func TestVectorsStayInside(t *testing.T) {
	groups := reflect.TypeFor[Metrics]()
	for i := range groups.NumField() {
		group := groups.Field(i)
		if !group.IsExported() {
			continue
		}
		for j := range group.Type.Elem().NumField() {
			field := group.Type.Elem().Field(j)
			if field.IsExported() && strings.HasSuffix(field.Type.String(), "Vec") {
				t.Errorf("%s.%s is a vector: whoever has it can make series without end", group.Name, field.Name)
			}
		}
	}
}

func TestEveryFieldIsSet(t *testing.T) {
	groups := reflect.ValueOf(New()).Elem()
	for i := range groups.NumField() {
		group := groups.Type().Field(i)
		if !group.IsExported() {
			continue
		}
		value := groups.Field(i).Elem()
		for j := range value.NumField() {
			if f := value.Field(j); f.Kind() == reflect.Interface && f.IsNil() {
				t.Errorf("%s.%s is nil", group.Name, value.Type().Field(j).Name)
			}
		}
	}
}

func TestPage(t *testing.T) {
	m := New()
	m.Server.API(0).Observe(3 * time.Millisecond)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	for _, want := range []string{
		`ottla_requests_total{api="Produce"} 1`,
		`ottla_request_seconds_bucket{api="Produce",le="0.0025"} 0`,
		`ottla_request_seconds_bucket{api="Produce",le="0.005"} 1`,
		"process_resident_memory_bytes",
		"go_goroutines",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if len(body) > pageBytesMax {
		t.Errorf("the page has %d bytes, at most %d", len(body), pageBytesMax)
	}
}

func TestTwoSetsDoNotCollide(t *testing.T) {
	a, b := New(), New()
	a.Server.Panics.Inc()
	var out dto.Metric
	if err := b.Server.Panics.(prometheus.Metric).Write(&out); err != nil || out.GetCounter().GetValue() != 0 {
		t.Errorf("one set counts for the other: %v, %v", &out, err)
	}
}

func TestNames(t *testing.T) {
	for key, name := range apiNames {
		if name != "" && !strings.EqualFold(name, kmsg.NameForKey(int16(key))) {
			t.Errorf("key %d is %s, not %s", key, kmsg.NameForKey(int16(key)), name)
		}
	}
	for r := range closeReasons {
		if r.String() == "" {
			t.Errorf("close reason %d has no name", r)
		}
	}
	for name, f := range gather(t, New()) {
		counter := f.GetType() == dto.MetricType_COUNTER
		if strings.HasPrefix(name, namespace) && counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: counters, and only they, end in _total", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
}
