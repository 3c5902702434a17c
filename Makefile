# Everything here is a shorthand; README.md names the two commands that matter.
GO ?= go
export CGO_ENABLED ?= 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 20000x

.PHONY: build test race lint fuzz compat compat-all investigate bench bench-100m microbench docs release deploy-test

build:
	$(GO) build -trimpath -ldflags "-s -w -X ottla/internal/cli.Version=$(VERSION)" -o bin/ottla ./cmd/ottla

test:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race -short ./...

lint:
	$(GO) vet ./...
	@test -z "$$(gofmt -l cmd internal bench test 2>/dev/null)" || { gofmt -l cmd internal bench test; exit 1; }
	$(GO) test ./internal/lint

# Every fuzz target for FUZZTIME, a number of runs: with a duration, Go before 1.27 fails now and then at the end of it
# (golang/go#75804). go test -fuzz takes one target of one package. Minimizing would eat the time of short runs.
fuzz:
	@set -e; log=$$(mktemp); trap 'rm -f '$$log EXIT; for pkg in $$($(GO) list ./internal/...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg > $$log 2>&1 || { tail -40 $$log; exit 1; }; \
	  done; done

# Other people's clients and tools against the built binary.
compat: build
	bash test/compat/run.sh bin/ottla

# Also what is slow to install, whole systems, and test suites of others; writes docs/compatibility.md.
compat-all: build
	bash test/compat/run.sh --all bin/ottla

# The storm, the investigation and the autopsy against Apache Kafka of six versions and against Ottla.
investigate: build
	bash test/investigate/run.sh bin/ottla

# Side by side with Apache Kafka: docs/benchmarks.md, its JSON and its charts. BENCH=--quick to see whether all works, in bin/bench-quick.
bench:
	$(GO) run ./bench $(BENCH)

# 100 million single-use producers into Ottla alone: about ten minutes, 5 GB of disk.
bench-100m:
	$(GO) run ./bench --sections entries-100m --merge --rounds 1

microbench:
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

# docs/configuration.md is generated from the table of keys.
docs:
	$(GO) generate ./internal/config

# Static stripped binaries, checksums and bills of materials in dist/; built twice and compared.
release:
	bash scripts/release.sh --verify

# Alert rules, dashboard, manifests and the gate that are shipped.
deploy-test:
	bash deploy/test.sh
