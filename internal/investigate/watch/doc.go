// Package watch investigates one cluster over and over and shows what it sees as Prometheus metrics. It owns the names of
// the metrics, the pace of the scans, and the count of producer births over long times.
//
// It must not judge: levels, heaps and shares are diagnose's. It must not ask the cluster itself: collect does, through a
// function that it is given. Its memory is bounded by the last scan's verdict and by named limits, however long it runs.
package watch
