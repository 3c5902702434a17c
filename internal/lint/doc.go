// Package lint holds the rules of docs/ARCHITECTURE.md as tests: which package may
// import which, what every package must say of itself, how long files and functions
// may be, and which calls are banned where. It owns no product code and must not be
// imported.
package lint
