# Everything a developer runs. `make help` lists it.

SHELL := /bin/bash
BIN := $(CURDIR)/.tools/bin
# Both in one command, and not optimised: every crate is compiled once, for the demo, the docs and the tests alike. Optimised
# it takes 15 minutes of CPU instead of 6.
DEMO_BUILD := cargo build --locked --bin dr-exporter --examples

.PHONY: bench guards fuzz help test truth test-unit test-kubernetes fmt check-assets check-docs book test-image torture soak lint build dist tools demo demo-drill check-demo demo-cut demo-heal demo-kill-api demo-revive-api demo-rotate demo-drift demo-pin demo-git-down

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

tools: ## install what tests and the demo need into .tools/
	@scripts/tools cc curl nats nats-old prometheus alertmanager faketime helm chromium axe

# The tests mostly wait for servers, so more of them than cores may run at once.
test: ## install what the tests need, and run them all
	@scripts/tools cc curl nats nats-old prometheus alertmanager faketime helm chromium axe >/dev/null
	PROMTOOL=$(BIN)/promtool AMTOOL=$(BIN)/amtool scripts/check-assets
	$(DEMO_BUILD)
	scripts/check-docs
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} NATS_SERVER=$(BIN)/nats-server NATS_SERVER_OLD=$(BIN)/nats-server-old \
	PROMETHEUS=$(BIN)/prometheus PROMTOOL=$(BIN)/promtool ALERTMANAGER=$(BIN)/alertmanager AMTOOL=$(BIN)/amtool cargo test --locked --no-fail-fast

test-unit: ## run the tests that need no server
	@scripts/tools cc >/dev/null
	cargo test --locked --package dr-rules
	cargo test --locked --lib --test library --test panics

# Against real API servers, built here, and against the stand-in.
test-kubernetes: ## run the tests of the Kubernetes side
	@scripts/tools cc nats helm kube >/dev/null
	KUBEBUILDER_ASSETS=$$(scripts/tools kube) NATS_SERVER=$(BIN)/nats-server \
	cargo test --locked --no-fail-fast --test kubernetes

# The load is made by the unoptimised program of the bench, the work is done by the release.
bench: ## measure the release beside its peers, and write docs/performance.md; ONLY=probe ROUNDS=3 for a part
	@scripts/tools cc peers nats >/dev/null
	cargo build --profile dist --locked
	BENCH_ONLY=$(ONLY) BENCH_ROUNDS=$(ROUNDS) BENCH_SHARE=$(SHARE) BENCH_WRITE=$(if $(ONLY),,docs/performance.md) cargo test --locked --bench peers

guards: ## count the instructions of what runs most often; UPDATE=1 writes the counts anew
	@scripts/tools cc valgrind >/dev/null
	cargo test --locked --bench guards

fmt: ## format the sources
	cargo fmt

check-assets: ## check that alerts, dashboards, runbooks and docs/metrics.md match
	@scripts/tools prometheus alertmanager grafana-sdk >/dev/null
	scripts/check-assets --model

check-docs: ## follow the links of the docs, and run their blocks
	@scripts/tools cc curl >/dev/null
	$(DEMO_BUILD)
	scripts/check-docs

book: ## build the site of the docs in target/book, and follow its links
	@scripts/tools cc mdbook >/dev/null
	scripts/book

test-image: ## build the image without an engine, and check it; needs root
	scripts/test-image

torture: ## kill the exporter a thousand times during outages
	DR_TORTURE=$${DR_TORTURE:-1000} cargo test --locked --test real -- --nocapture storage::torture

# Every look at it is printed, and so are the medians of each fifth of the time.
soak: ## measure a hundred contracts for an hour of churn, and see that memory, descriptors and threads stay flat
	@scripts/tools cc nats prometheus >/dev/null
	NATS_SERVER=$(BIN)/nats-server PROMETHEUS=$(BIN)/prometheus \
	DR_SOAK=$${DR_SOAK:-3600} cargo test --locked --test real -- --ignored --nocapture soak::

# KINDS=http,dns plays only these; a seed that fails prints how to play it again.
truth: ## compare the exporter with the truth, in SEEDS random scenarios of each kind from FROM on
	@scripts/tools cc nats nats-old prometheus alertmanager faketime >/dev/null
	NATS_SERVER=$(BIN)/nats-server NATS_SERVER_OLD=$(BIN)/nats-server-old PROMETHEUS=$(BIN)/prometheus ALERTMANAGER=$(BIN)/alertmanager \
	DR_TRUTH_KINDS=$${KINDS:-} DR_TRUTH_SEEDS=$${FROM:-0}..$$(($${FROM:-0} + $${SEEDS:-20})) \
	cargo test --locked --test truth -- --nocapture

fuzz: ## feed DR_FUZZ broken inputs to each parser
	DR_FUZZ=$${DR_FUZZ:-10000000} cargo test --locked --release --lib -- break --nocapture

lint: ## check formatting, clippy and rustdoc; no warning passes
	@scripts/tools cc >/dev/null
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

build: ## build the release binary, target/release/dr-exporter
	@scripts/tools cc >/dev/null
	cargo build --release --locked

dist: ## make the files of a release in target/release-files
	@scripts/tools cc helm >/dev/null
	scripts/dist

demo: ## run two regions on this machine, with alerts; Ctrl-C ends everything
	@[ -x target/debug/examples/demo-clusters ] || echo "demo: compiling, which takes about 4 minutes on 2 cores the first time"
	@scripts/tools cc nats >/dev/null
	@scripts/tools prometheus alertmanager >/dev/null || echo "demo: without alerts, then"
	$(DEMO_BUILD)
	@scripts/demo run

demo-drill: ## run a whole drill on this machine, from its start to its report
	@scripts/tools cc >/dev/null
	$(DEMO_BUILD)
	@scripts/demo-drill

check-demo: ## run the demo: break it, repair it, get pages, end it; nothing is left running
	scripts/check-demo

demo-cut: ## cut the link between the demo's regions
	@scripts/demo cut

demo-heal: ## repair it
	@scripts/demo heal

demo-kill-api: ## stop the demo's API
	@scripts/demo kill-api

demo-revive-api: ## start it again
	@scripts/demo revive-api

demo-rotate: ## rotate the demo's secret; DR follows 15 s later
	@scripts/demo rotate

demo-drift: ## rotate it, but DR does not follow
	@scripts/demo drift

demo-pin: ## pin the demo's DR application to an old tag
	@scripts/demo pin

demo-git-down: ## make git unreachable for the demo's Argo CD
	@scripts/demo git-down
