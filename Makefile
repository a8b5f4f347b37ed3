# Kapi. `make` alone lists what there is to make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/kapi-id/kapi/cmd/kapi/program.version=$(VERSION)
PKG ?= ./...
JOURNEYS := ./cmd/kapi/program
# The product is built without cgo; only the race detector needs it.
STATIC := CGO_ENABLED=0 $(GO)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run the demo: provider, portal and phone on one machine
	$(GO) run ./cmd/kapi demo

.PHONY: test
test: install format ## Test everything; as root on Debian install what is missing first
	@echo "== build without cgo"
	$(STATIC) build ./...
	echo "== vet"
	$(STATIC) vet ./...
	echo "== tests: unit, both databases, journeys in-process and in a browser; race detector where it fits into the time"
	if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then
	  # All journeys take the race detector a quarter of an hour (make slow): here they have it where goroutines meet on purpose. Never in e2e, which
	  # drives a browser with a library that races with itself, and kapi as processes of their own.
	  $(GO) test -race -timeout 20m $$($(GO) list $(PKG) | grep -v -e '/e2e' -e '/kapi/program$$')
	  $(GO) test -race -timeout 20m -run 'Race|TheMainJob|TwoTabs' $(JOURNEYS)
	  # The browser mostly waits: the journeys in-process run beside it.
	  log=$$(mktemp); trap 'rm -f "$$log"' EXIT
	  $(GO) test -timeout 20m $(JOURNEYS) >"$$log" 2>&1 & journeys=$$!
	  browser=0; $(GO) test -timeout 20m ./e2e/... || browser=1
	  wait $$journeys || browser=1
	  cat "$$log"
	  exit $$browser
	else
	  echo "no C compiler: WITHOUT THE RACE DETECTOR"
	  $(GO) test -timeout 20m $(PKG)
	fi

.PHONY: install
install:
	@.ci/install

.PHONY: format
format:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not gofmt-ed:"; echo "$$bad"; exit 1; fi

.PHONY: slow
slow: install ## Test the long races and faults
	# The race detector sees every test of the journeys, in its usual size: ten times as much under it is a matter of many hours. None in e2e: see test.
	$(GO) test -race -count=1 -timeout 60m $$($(GO) list $(PKG) | grep -v '/e2e')
	export KAPI_SLOW_TESTS=1
	$(GO) test -count=1 -timeout 120m $(JOURNEYS)
	$(GO) test -count=1 -timeout 60m ./e2e/...

.PHONY: bench
bench: install ## Measure; docs/performance.md tells method and results
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m $(PKG)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME each (default 20s)
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do
	    echo "== $$(dirname $$file) $$target"
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),20s) $$(dirname $$file)
	  done
	done

.PHONY: lint
lint: bin/staticcheck ## Run vet and staticcheck
	$(STATIC) vet ./...
	CGO_ENABLED=0 bin/staticcheck ./...

bin/staticcheck: tools/go.mod tools/go.sum
	$(STATIC) -C tools build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

.PHONY: cover
cover: ## Measure which lines the tests reach (tmp/cover.html)
	mkdir -p tmp
	$(GO) test -coverpkg=./... -coverprofile=tmp/cover.out $(PKG)
	$(GO) tool cover -html tmp/cover.out -o tmp/cover.html
	$(GO) tool cover -func tmp/cover.out | tail -n 1

.PHONY: build
build: ## Build static binaries in bin/
	$(STATIC) build -trimpath -ldflags '$(LDFLAGS)' -o bin/kapi ./cmd/kapi
	$(STATIC) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sim ./cmd/sim
	ls -l bin

.PHONY: gallery
gallery: install ## Take pictures of every page into the folder GALLERY, to look at
	mkdir -p "$(GALLERY)"
	$(GO) test ./e2e -run '^TestGallery$$' -count=1 -timeout 30m -v -args -gallery "$(GALLERY)"

.PHONY: screenshots
screenshots: install ## Take the pictures of docs/screenshots anew
	mkdir -p docs/screenshots
	$(GO) test ./e2e -run '^TestScreenshots$$' -count=1 -v -args -screenshots "$(CURDIR)/docs/screenshots"
