# Everything a person or a CI machine types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down test lint bench examples images setup clean

# Outside the clone, so that a second clone or a clean checkout builds in seconds.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bramble
export CARGO_TARGET_DIR ?= $(CACHE)/target
EXAMPLES := $(CACHE)/examples
export BRAMBLE_EXAMPLES := $(EXAMPLES)
BRAMBLE := $(CARGO_TARGET_DIR)/release/bramble
# Settings of the gateway that `make up` starts; see `bramble up --help`.
UP_FLAGS ?=
# What /system/info and `bramble version` say of the build.
export BRAMBLE_GIT_SHA := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
export BRAMBLE_GIT_SUBJECT := $(shell git log -1 --format=%s 2>/dev/null | tr -d '\r')
# The images that the tests deploy, where there is a Docker to test with.
TEST_IMAGES := [ -z "$${BRAMBLE_TEST_DOCKER:-}" ] || DOCKER_HOST=$$BRAMBLE_TEST_DOCKER scripts/images.sh
# Those that the bench deploys, and the Docker it deploys them in. Without one it measures wasm alone.
BENCH_IMAGES := [ -z "$${BRAMBLE_TEST_DOCKER:-}" ] || { export DOCKER_HOST=$$BRAMBLE_TEST_DOCKER; \
	scripts/images.sh $(filter-out base64 c-wordcount decodebase64 fwatchdog nodeinfo,$(notdir $(patsubst %/Dockerfile,%,$(wildcard examples/images/*/Dockerfile)))); }
# Flags of `bramble-bench suite`, such as `--quick`.
BENCH_FLAGS ?=
# A fresh machine gets cargo in its home, which this shell does not know yet.
export PATH := $(HOME)/.cargo/bin:$(PATH):$(CACHE)/tools/usr/bin

help: ## list what can be made
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## install what is missing, build, start the gateway on 127.0.0.1:8080 with the samples
	@echo "==> building the gateway (the first time takes some minutes)"
	cargo build --release --locked --workspace --bin bramble
	@echo "==> building the sample functions"
	examples/build.sh "$(EXAMPLES)"
	@echo "==> starting the gateway"
	"$(BRAMBLE)" up --detach --samples "$(EXAMPLES)" $(UP_FLAGS)

down: ## stop the gateway that `make up` started
	"$(BRAMBLE)" down $(UP_FLAGS)

test: ## install what is missing, check the style, run every test
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint
	@echo "==> building"
	cargo build --release --locked --workspace
	@echo "==> building the sample functions"
	examples/build.sh "$(EXAMPLES)" --all
	@echo "==> testing the samples' own logic"
	cargo test --quiet --release --locked --manifest-path examples/Cargo.toml --target-dir "$(CACHE)/examples-target" --workspace
	@echo "==> testing the documentation's examples"
	cargo test --quiet --release --locked --workspace --doc
	@echo "==> testing"
	BRAMBLE_TEST_LANGUAGES=$$(scripts/languages.sh); export BRAMBLE_TEST_LANGUAGES; \
	scripts/docker.sh run bash -euc '$(TEST_IMAGES); exec cargo nextest run --release --locked --workspace --no-fail-fast'

lint: ## formatting, clippy and rustdoc without a warning
	@echo "==> formatting"
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path examples/Cargo.toml
	@echo "==> clippy"
	@if cargo clippy --version >/dev/null 2>&1; then \
		set -x; cargo clippy --release --locked --workspace --all-targets -- -D warnings; \
	else echo "this toolchain has no clippy (a distribution's may lack it): lints are not checked"; fi
	@echo "==> rustdoc"
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --release --locked --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; fi

bench: setup ## measure wasm against containers, and every budget; the report is in bench/results
	cargo build --release --locked --workspace --bin bramble --bin bramble-bench
	@echo "==> building the sample functions"
	examples/build.sh "$(EXAMPLES)" --all
	@echo "==> measuring, about fifteen minutes"
	scripts/docker.sh run bash -euc '$(BENCH_IMAGES); exec "$(CARGO_TARGET_DIR)/release/bramble-bench" suite $(BENCH_FLAGS)'

examples: setup ## build every sample function, in every language there is a compiler for
	examples/build.sh "$(EXAMPLES)" --all

images: setup ## build container images of the examples and of the gateway, in the Docker of DOCKER_HOST
	scripts/images.sh

setup: # install what the build needs
	@scripts/setup.sh build

clean: ## forget everything that was built
	rm -rf "$(CACHE)"
