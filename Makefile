# make help lists the targets.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
BINARY      := bin/postern
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The version is set below, so Go need not ask git, which refuses where the
# tree belongs to another user.
export GOFLAGS := $(shell $(GO) env GOFLAGS) -buildvcs=false

# Packages that are tested alone, and those that drive the program.
UNIT  := ./cmd/... ./internal/...
WHOLE := ./test/...

# Only root can start Postfix, which the tests put beside Postern. root's own
# build cache, so that none of its files end up among the user's.
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo "sudo -n -H env 'PATH=$$PATH' 'GOFLAGS=$(GOFLAGS)' 'GOMODCACHE=$$($(GO) env GOMODCACHE)'")
REQUIRE := POSTERN_REQUIRE_PEERS=1

# The runs of tests. SLOWEST prints what they print, then the slowest tests
# and how long make took so far.
UNIT_RUN  := $(GO) test -json -timeout 10m $(UNIT) -- $(GO) test -json -tags crashpoints ./internal/crashpoint
WHOLE_RUN := $(AS_ROOT) env $(REQUIRE) $(GO) test -json -count=1 -p 1 -parallel 2 -timeout 15m $(WHOLE)
SLOWEST   := $(GO) run ./test/slowest -since $(shell date +%s)

# T is how long each fuzz target runs. The crash tests kill COUNT times, cut
# the power CUTS times, flip FLIPS bits of its files, and compare the store with
# its models from SEEDS seeds.
T     ?= 1m
COUNT ?= 1000
CUTS  ?= 2000
SEEDS ?= 50
FLIPS ?= 3000

# The soak sends MESSAGES to SITES, some of them slow or dead, PAIRS times
# beside as many runs without these, and keeps DUE for one that is dead.
SITES    ?= 2000
MESSAGES ?= 100000
PAIRS    ?= 5
DUE      ?= 200000
QUEUED   ?= 1000000

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build
build: ## build bin/postern
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X postern/internal/cli.version=$(VERSION)' -o $(BINARY) ./cmd/postern

# The package has the time of the commit, so that it can be built again.
.PHONY: deb
deb: build ## build the Debian package, into bin/
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) dist/debian/build bin/postern '$(VERSION)' "$$($(GO) env GOARCH | sed 's/^arm$$/armhf/; s/^386$$/i386/')" bin

.PHONY: run
run: build ## build, and run it without configuration on loopback
	bin/postern try

.PHONY: demo
demo: build ## send a few messages through it and tell the story of each
	bin/postern demo

.PHONY: test
test: packages lint ## everything, with real peers: installs what is missing; tells the ten slowest tests
	$(SLOWEST) -- $(UNIT_RUN) -- $(WHOLE_RUN)

.PHONY: packages
packages: ## install the Debian packages that the tests need
	test/install

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l cmd internal test) && test -z "$$unformatted" || { echo "run gofmt -w on: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags crashpoints ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: unit
unit: ## tests of single packages: need only Go
	$(SLOWEST) -- $(UNIT_RUN)

.PHONY: whole
whole: ## tests of the whole program; a missing peer is a failure
	$(SLOWEST) -- $(WHOLE_RUN)

.PHONY: peers
peers: ## of those, the tests with other mail programs
	$(AS_ROOT) env $(REQUIRE) $(GO) test -count=1 -v -timeout 15m ./test/peers

.PHONY: crash
crash: ## cut its power CUTS=2000 times, fail every disk operation, flip FLIPS=3000 bits, kill it COUNT=1000 times
	LONG=1 CUTS=$(CUTS) SEEDS=$(SEEDS) FLIPS=$(FLIPS) $(GO) test -count=1 -v -timeout 0 -run '^Test(PowerCut|Faults|SpaceModel|Reclaim|FlippedBit|TwoFlippedBits|Conformance)$$' ./internal/queue/embedded
	COUNT=$(COUNT) $(GO) test -count=1 -v -timeout 0 ./test/crash

.PHONY: model
model: ## all sequences of three steps, all ways into each state, 20,000 long ones: the long form of the server's model
	LONG=1 $(GO) test -count=1 -v -timeout 0 -run '^TestModel' ./internal/smtpserver

.PHONY: soak
soak: ## MESSAGES=100000 to SITES=2000, slow and dead ones among them, PAIRS=5 times; DUE=200000 for one dead site; commands over QUEUED=1000000
	LONG=1 SITES=$(SITES) MESSAGES=$(MESSAGES) PAIRS=$(PAIRS) DUE=$(DUE) $(GO) test -count=1 -v -timeout 0 ./test/scale
	POSTERN_QUEUED=$(QUEUED) $(GO) test -count=1 -v -timeout 0 -run '^TestLargeQueue$$' ./internal/admin

.PHONY: race
race: ## tests of single packages under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(UNIT)

.PHONY: fuzz
fuzz: ## run every fuzz target for T=1m
	@for package in $$($(GO) list ./...); do \
		list=$$($(GO) test -list '^Fuzz' $$package) || { echo "$$list"; exit 1; }; \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(T) $$package || exit 1; \
		done; \
	done

.PHONY: bench
bench: build packages ## measure it on this machine, beside Postfix; BENCH="-only storage -quick" passes flags
	$(AS_ROOT) $(GO) run ./test/bench $(BENCH)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
