package watch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	readHeaderMax  = 5 * time.Second
	writeMax       = 30 * time.Second
	headerBytesMax = 16 << 10
	scrapesMax     = 8 // at the same time
	shutdownMax    = 5 * time.Second
)

// Serve answers /metrics on the listener until ctx ends, and closes it.
func (w *Watch) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.handler())
	mux.HandleFunc("GET /{$}", func(out http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(out, "ottla investigate watch: see /metrics\n")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderMax, ReadTimeout: readHeaderMax, WriteTimeout: writeMax, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: headerBytesMax}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownMax)
	defer cancel()
	err := server.Shutdown(grace)
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func (w *Watch) handler() http.Handler {
	return promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax})
}

// WriteFile writes the metrics as a file for node_exporter's textfile collector: whole, or as it was.
func (w *Watch) WriteFile(path string) error { return prometheus.WriteToTextfile(path, w.registry) }

// WriteText writes the metrics as a scrape would get them.
func (w *Watch) WriteText(out io.Writer) error {
	r, err := http.NewRequest(http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	page := &page{header: http.Header{}, code: http.StatusOK}
	w.handler().ServeHTTP(page, r)
	if page.code != http.StatusOK {
		return errors.New(page.body.String())
	}
	_, err = page.body.WriteTo(out)
	return err
}

// page is an answer in memory.
type page struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) WriteHeader(code int)        { p.code = code }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
