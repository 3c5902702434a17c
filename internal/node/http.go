package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"
)

const (
	httpHeaderTimeout = 5 * time.Second
	httpHeaderBytes   = 16 << 10
	httpIdleTimeout   = time.Minute
	httpStopTimeout   = time.Second
)

func (n *Node) serveHTTP() error {
	if n.httpBound == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.scraped(n.metrics.Handler()))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", n.ready)
	mux.HandleFunc("GET /{$}", index)
	if n.config.Bool("http.pprof.enable") {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	n.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpHeaderTimeout,
		MaxHeaderBytes: httpHeaderBytes, IdleTimeout: httpIdleTimeout,
	}
	n.background.Go(func() {
		if err := n.http.Serve(n.httpBound); !errors.Is(err, http.ErrServerClosed) {
			n.logger.Error("metrics and health are no longer served", "error", err)
		}
	})
	return nil
}

func index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "ottla\n\n/metrics\n/healthz\n/readyz\n")
}

// ready says whether clients should be sent here. The parts are complete by the time this is served.
func (n *Node) ready(w http.ResponseWriter, _ *http.Request) {
	if err := n.logs.Offline(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "data directory is offline: %v\n", err)
		return
	}
	fmt.Fprintln(w, "ready")
}

// stopHTTP closes the page. Scrapes under way get a moment.
func (n *Node) stopHTTP() {
	if n.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), httpStopTimeout)
		defer cancel()
		if n.http.Shutdown(ctx) != nil {
			_ = n.http.Close()
		}
	}
	if n.httpBound != nil {
		_ = n.httpBound.Close() // a second close of the same listener does nothing
	}
}
