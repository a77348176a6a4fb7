# sessionhub. Three commands to begin with:
#
#   make run     builds it and serves the dashboard
#   make quick   checks and tests in a minute what needs no other program
#   make test    checks and tests everything, as CI does (.ci/run)
#
# Needed: Go, make, git, gcc, and Node for the dashboard and its tests. What else
# the tests need is installed by scripts/need.sh, or it says what to install.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
# The parts use both cores by themselves, and their output should not mix.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN := bin/sessionhub
WORKSPACE ?= workspace
DATA_DIR ?= .sessionhub
RUN_FLAGS ?=
IMAGE ?= sessionhub:$(VERSION)

# How the tests run. -p is the number of packages at once: on a small machine
# more of them only makes timing tests wait for each other. -parallel is the number
# of tests at once of those that say that they may: they mostly wait.
PACKAGES ?= ./...
TEST_FLAGS ?=
TEST_TIMEOUT ?= 45m
TEST_PROCS ?= 2
TEST_PARALLEL ?= 8
BENCH ?= .
BENCH_FLAGS ?=
BENCHTIME ?= 1s
FUZZTIME ?= 2m
FUZZTIME_TEST ?= 30s
# What strangers send: commands, cursors, tokens, tickets, what goes into an SSE
# line; frames of clients and of workers; the files of keys; and where a request
# says that it comes from.
FUZZ_TEST := FuzzCommand FuzzMarkdown FuzzParseCursor FuzzVerify FuzzTicket FuzzSSE FuzzFrameBorder FuzzRun FuzzDecodeEvent FuzzHello FuzzParseKeys FuzzForwardedFor FuzzLocalPath
# A run of make has every program that the tests need: none is skipped.
export SESSIONHUB_TEST_ALL := 1

# make soak; the short form in make test has a duration of its own.
SOAK ?= 5m
SOAK_CLIENTS ?= 3000
KILLS ?= 200

STATICCHECK := go tool -modfile=internal/tools/go.mod staticcheck

# The dashboard is built where Node is. Without it the binary is built all the
# same, and its page says what is missing.
HAVE_NODE := $(shell scripts/need.sh node 2>/dev/null && echo yes)
WEB_SOURCES := $(shell find web -type d \( -name node_modules -o -name dist -o -name e2e -o -name test \) -prune -o \
	-type f ! -name '*.go' ! -name 'package-lock.json' ! -path 'web/.*' -print)

.PHONY: build
build: $(if $(HAVE_NODE),web/dist/index.html,no-dashboard) ## build the dashboard and bin/sessionhub
	go build -buildvcs=false -trimpath -ldflags "-X sessionhub/internal/app.Version=$(VERSION)" -o $(BIN) ./cmd/sessionhub

.PHONY: need-node
need-node:
	@scripts/need.sh node

.PHONY: no-dashboard
no-dashboard:
	@echo "make: WITHOUT DASHBOARD: it needs Node 20.19 or newer with npm (scripts/need.sh node)." >&2

# npm writes .package-lock.json last, so it is there when an install was whole.
web/node_modules/.package-lock.json: web/package.json web/package-lock.json | need-node
	cd web && npm ci --no-progress --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run --silent build
	@touch $@

.PHONY: run
run: build ## build and serve; offers the agents in PATH, which work in ./workspace; sessions are kept in ./.sessionhub (RUN_FLAGS="--listen 127.0.0.1:9000")
	@mkdir -p $(WORKSPACE)
	@exec $(BIN) serve --workspace-root $(WORKSPACE) $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(RUN_FLAGS)

.PHONY: run-cluster
run-cluster: build ## build and run Valkey, three nodes and two workers as plain processes (PORT=8080)
	@exec scripts/run-cluster.sh $(WORKSPACE)

# The packages whose tests start hubs, servers or many processes: make test has them.
NOT_QUICK := cmd/sessionhub internal/app internal/bench internal/contracttest internal/testkit/.* hub/store/valkey

# -short: tests that need another program (internal/testkit/need) are skipped.
.PHONY: quick
quick: ## format, vet and unit tests: no network, no installs, under a minute once built
	@unformatted="$$(scripts/sources.sh '*.go' | xargs -0 -r gofmt -l)"; \
		[ -z "$$unformatted" ] || { echo "make: not formatted; run: gofmt -w" $$unformatted >&2; exit 1; }
	GOFLAGS=-mod=readonly GOPROXY=off go vet ./...
	packages="$$(GOPROXY=off go list ./... | grep -vE '^sessionhub/($(subst $() ,|,$(NOT_QUICK)))$$')"; \
		GOPROXY=off go test -short $(TEST_FLAGS) $$packages
	@echo "== make quick: passed; make test has the rest"

.PHONY: check
check: check-files check-locks check-go check-web ## format, vet, staticcheck, generated files, go.mod, lock files; types, format and lint of the web

.PHONY: check-files
check-files:
	scripts/check-files.sh

.PHONY: check-locks
check-locks: need-node
	scripts/check-locks.sh

.PHONY: check-go
check-go:
	go vet ./...
	$(STATICCHECK) ./...
	go vet -tags agents ./internal/app
	$(STATICCHECK) -tags agents ./internal/app
	scripts/check-generated.sh
	scripts/check-modules.sh

.PHONY: check-web
check-web: web/node_modules/.package-lock.json
	cd web && npm run --silent check

.PHONY: test
test: check test-go test-fuzz test-web test-browser ## everything that CI runs
	@grep '^== ' bin/test-go.log
	@echo "== make test: all passed: checks, Go tests with the race detector, fuzzing, web unit tests, browser tests"
	@echo "== not part of it: make test-agents (gemini, opencode, qwen, the newest claude-agent-acp)"
	@echo "== not part of it: make test-load (time and load judged, on a quiet machine)"
	@echo "== not part of it: make soak (longer runs of what breaks things at random)"

.PHONY: provision
provision: need-node ## install what the tests need
	@scripts/need.sh gcc
	@scripts/need.sh chromium >/dev/null
	@scripts/need.sh codex >/dev/null
	@scripts/need.sh claude >/dev/null
	@scripts/need.sh valkey >/dev/null
	@scripts/need.sh redis >/dev/null
	@scripts/need.sh nginx >/dev/null
	@scripts/need.sh haproxy >/dev/null
	@scripts/need.sh caddy >/dev/null

.PHONY: test-go
test-go: build provision ## Go tests (PACKAGES=./hub/... TEST_FLAGS="-run Name -v")
	@echo "make: go test -race; compiling with the race detector takes minutes the first time"
	codex="$$(scripts/need.sh codex)"; claude="$$(scripts/need.sh claude)"; \
	valkey="$$(scripts/need.sh valkey)"; redis="$$(scripts/need.sh redis)"; \
	nginx="$$(scripts/need.sh nginx)"; haproxy="$$(scripts/need.sh haproxy)"; caddy="$$(scripts/need.sh caddy)"; \
	SESSIONHUB_TEST_NGINX="$$nginx" SESSIONHUB_TEST_HAPROXY="$$haproxy" SESSIONHUB_TEST_CADDY="$$caddy" \
	CHROMIUM="$$(scripts/need.sh chromium)" SESSIONHUB_TEST_CODEX_ACP="$$codex" SESSIONHUB_TEST_CLAUDE_ACP="$$claude" \
	SESSIONHUB_TEST_VALKEY="$$valkey" SESSIONHUB_TEST_REDIS="$$redis" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" \
		scripts/test-go.sh -race -p $(TEST_PROCS) -parallel $(TEST_PARALLEL) -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) $(PACKAGES)
	$(if $(filter ./...,$(PACKAGES)),scripts/test-whole.sh -p $(TEST_PROCS) $(TEST_FLAGS))

.PHONY: test-load
test-load: build provision ## the tests that know how long something may take, judged by it; on a quiet machine (PACKAGES, TEST_FLAGS)
	SESSIONHUB_TEST_LOAD=1 SESSIONHUB_BIN="$(CURDIR)/$(BIN)" scripts/test-go.sh -count 1 -p 1 -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) $(PACKAGES)
	SESSIONHUB_TEST_LOAD=1 CHROMIUM="$$(scripts/need.sh chromium)" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" scripts/test-browser.sh answers

.PHONY: test-fuzz
test-fuzz: ## the fuzz targets of what comes from outside, FUZZTIME_TEST (30s) each
	FUZZ_TARGETS="$(FUZZ_TEST)" FUZZ_JOBS=2 FUZZ_PROCS=1 scripts/fuzz.sh $(FUZZTIME_TEST) ./protocol ./hub ./hub/compact ./hub/transcript ./hub/fleet ./handlers ./handlers/wsconn ./internal/auth ./worker

.PHONY: test-agents
test-agents: build provision ## more real agents, not part of test: 2 GB and minutes (TEST_FLAGS="-run /qwen -v")
	more="$$(scripts/need.sh more)"; \
	SESSIONHUB_TEST_MORE_AGENTS="$$more" go test -race -tags agents -count 1 -timeout 30m -run TestMoreAgents $(TEST_FLAGS) ./internal/app

.PHONY: test-web
test-web: web/node_modules/.package-lock.json ## unit tests of the dashboard and the JavaScript client
	cd web && npm run --silent test

.PHONY: test-browser
test-browser: build provision ## the dashboard in a real browser
	go build -o bin/fakemodel ./internal/testkit/fakemodel/fakemodel
	chromium="$$(scripts/need.sh chromium)"; codex="$$(scripts/need.sh codex)"; claude="$$(scripts/need.sh claude)"; \
	CHROMIUM="$$chromium" SESSIONHUB_TEST_CODEX_ACP="$$codex" SESSIONHUB_TEST_CLAUDE_ACP="$$claude" \
	SESSIONHUB_TEST_FAKEMODEL="$(CURDIR)/bin/fakemodel" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" scripts/test-browser.sh

.PHONY: bench
bench: ## benchmarks of the hot paths (PACKAGES=./hub/... BENCH=Append)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -p 1 $(PACKAGES)

.PHONY: bench-cluster
bench-cluster: build ## 100,000 connections over six nodes and a Valkey for 10 minutes (BENCH_FLAGS="--subscribers 6000 --sessions 6000 --hold 1m")
	@valkey="$$(scripts/need.sh valkey)"; exec $(BIN) bench --mode cluster --valkey "$$valkey" $(BENCH_FLAGS)

.PHONY: soak
soak: build ## one node, a cluster, one under Sentinels, broken at random for SOAK (5m) each; SOAK_SEED repeats a run's choices
	codex="$$(scripts/need.sh codex)"; valkey="$$(scripts/need.sh valkey)"; \
	SOAK=$(SOAK) SESSIONHUB_TEST_CODEX_ACP="$$codex" SESSIONHUB_TEST_VALKEY="$$valkey" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" \
		go test -count 1 -timeout 24h -v -run 'TestSoak(Cluster|Sentinel)?$$' ./internal/testkit/soak

.PHONY: soak-cluster
soak-cluster: build ## of these the clusters alone
	valkey="$$(scripts/need.sh valkey)"; \
	SOAK=$(SOAK) SESSIONHUB_TEST_VALKEY="$$valkey" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" \
		go test -count 1 -timeout 24h -v -run 'TestSoak(Cluster|Sentinel)$$' ./internal/testkit/soak

.PHONY: soak-restart
soak-restart: build ## three nodes restarted one by one under SOAK_CLIENTS (3000) clients; prints who came back when
	valkey="$$(scripts/need.sh valkey)"; \
	SOAK_CLIENTS=$(SOAK_CLIENTS) SESSIONHUB_TEST_VALKEY="$$valkey" SESSIONHUB_BIN="$(CURDIR)/$(BIN)" \
		go test -count 1 -timeout 1h -v -run 'TestRollingRestart$$' ./internal/testkit/soak

.PHONY: soak-disk
soak-disk: ## a store on disk, killed KILLS (200) times under load and compaction, and its power cut as often; a bit of it flipped
	KILLS=$(KILLS) go test -count 1 -timeout 24h -v -run 'Test(Killed|PowerCut|FlippedBits)$$' ./hub/store/disk

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (2m)
	scripts/fuzz.sh $(FUZZTIME) $(PACKAGES)

.PHONY: image
image: ## container image (IMAGE=name:tag); needs a Docker engine
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: clean
clean: ## remove what was built and installed here; ./workspace stays
	rm -rf bin .tools web/node_modules web/client/dist web/extension/dist agents/node_modules agents/more/node_modules
	find web/dist -mindepth 1 ! -name .keep -delete

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
