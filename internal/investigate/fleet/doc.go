// Package fleet investigates many clusters in one run: the list of clusters, who is asked when, what is remembered
// between runs, and the table. It owns the YAML of the list, the state directory's format, the judgement of a sweep and the order of rows.
//
// It must not judge a full scan (diagnose does), ask a cluster itself (collect does, through a function that it is given), or
// know flags. One scan at a time is in memory for each worker, however many clusters there are.
package fleet
