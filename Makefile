# `make run` and `make test` need Go and make and nothing else. `make help` lists the targets.

GO       ?= go
ARGS     ?=
TESTFLAGS ?=
FUZZTIME ?= 10s

# The commit when there is one to ask for, so that a source archive builds too.
VERSION ?= $(or $(shell [ -e .git ] && git describe --tags --always --dirty 2>/dev/null),dev)

# Paths and version control stay out of the binaries: the same source and version give the same bytes.
BUILD   := -trimpath -buildvcs=false
LDFLAGS  = -X main.version=$(VERSION)

SOURCES   := $(wildcard cmd shell commands cluster storage .ci)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

export GO
export CGO_ENABLED = 0

.PHONY: help build build-lean run test test-race integration bench lint fuzz dist clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## bin/shardsh
	$(GO) build $(BUILD) -ldflags '$(LDFLAGS)' -o bin/shardsh ./cmd/shardsh

build-lean: ## bin/shardsh-lean: without the sandbox and what only it needs
	$(GO) build $(BUILD) -ldflags '$(LDFLAGS)' -tags nosandbox -o bin/shardsh-lean ./cmd/shardsh

run: ## build it and open the shell (ARGS='...' are its arguments)
	@[ -e bin/shardsh ] || echo 'building bin/shardsh: the first time takes a few minutes' >&2
	@$(MAKE) -s build
	@exec bin/shardsh $(ARGS)

test: ## the tests that need nothing but Go
	$(GO) test $(TESTFLAGS) ./...

test-race: ## the same under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(GO) test -race $(TESTFLAGS) ./...

integration: ## the tests across processes and against real servers
	.ci/integration $(TESTFLAGS)

bench: ## one line per figure: BENCH name ours=... reference=... ratio=... unit=...
	@for tool in versitygw rclone; do .ci/tool $$tool >/dev/null || exit; done # may take longer than a test
	@{ $(GO) test -run '^$$' -bench . -benchtime 1x ./... ; echo "status $$?"; } | awk ' \
		$$1 == "status" { status = $$2; next } sub(/^.*BENCH /, "BENCH ") { print; n++; next } \
		/FAIL|panic|^    / { print > "/dev/stderr" } END { exit status || !n }'

lint: ## gofumpt, go vet for every build and system, staticcheck
	@unformatted=$$("$$(.ci/tool gofumpt)" -l $(SOURCES)) && \
		if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags nosandbox ./...
	$(GO) vet -tags integration ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) vet -C .ci/tools ./...
	$(GO) test -C .ci/tools ./...
	"$$(.ci/tool staticcheck)" ./...
	"$$(.ci/tool staticcheck)" -tags nosandbox ./...
	"$$(.ci/tool staticcheck)" -tags integration ./...

fuzz: ## every fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) .ci/fuzz

dist: build ## dist/: static binaries for every platform, shell completion, checksums
	rm -rf dist && mkdir -p dist/completion
	@set -e; for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} end=; \
		[ $$os != windows ] || end=.exe; \
		echo "dist/shardsh_$(VERSION)_$${os}_$$arch$$end"; \
		GOOS=$$os GOARCH=$$arch $(GO) build $(BUILD) -ldflags '-s -w -buildid= $(LDFLAGS)' \
			-o "dist/shardsh_$(VERSION)_$${os}_$$arch$$end" ./cmd/shardsh; \
		[ $$os = linux ] || continue; \
		echo "dist/shardsh-lean_$(VERSION)_$${os}_$$arch"; \
		GOOS=$$os GOARCH=$$arch $(GO) build $(BUILD) -ldflags '-s -w -buildid= $(LDFLAGS)' -tags nosandbox \
			-o "dist/shardsh-lean_$(VERSION)_$${os}_$$arch" ./cmd/shardsh; \
	done
	bin/shardsh completion bash > dist/completion/shardsh.bash
	bin/shardsh completion zsh > dist/completion/_shardsh
	bin/shardsh completion fish > dist/completion/shardsh.fish
	cp LICENSE config.ini dist/
	cd dist && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort | \
		xargs $$(command -v sha256sum || echo shasum -a 256) > SHA256SUMS

clean: ## remove what the targets above leave
	rm -rf bin dist .cache
