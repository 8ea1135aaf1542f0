# Everything a developer runs. `make help` lists it.

SHELL := /bin/bash
BIN := $(CURDIR)/.tools/bin
# Both in one command, and not optimised: every crate is compiled once, for the demo, the docs and the tests alike. Optimised
# it takes 15 minutes of CPU instead of 6.
DEMO_BUILD := cargo build --locked --bin dr-exporter --example demo-clusters

.PHONY: help test check-assets check-docs test-image torture lint build tools demo check-demo demo-cut demo-heal demo-kill-api demo-revive-api demo-rotate demo-drift demo-pin demo-git-down

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

tools: ## bring what tests and the demo need into .tools/
	@scripts/tools cc curl nats nats-old prometheus alertmanager

# The tests mostly wait for servers, so more of them than cores may run at once.
test: ## bring what the tests need and run them all
	@scripts/tools cc curl nats nats-old prometheus alertmanager >/dev/null
	PROMTOOL=$(BIN)/promtool AMTOOL=$(BIN)/amtool scripts/check-assets
	$(DEMO_BUILD)
	scripts/check-docs
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} NATS_SERVER=$(BIN)/nats-server NATS_SERVER_OLD=$(BIN)/nats-server-old \
	PROMETHEUS=$(BIN)/prometheus PROMTOOL=$(BIN)/promtool ALERTMANAGER=$(BIN)/alertmanager AMTOOL=$(BIN)/amtool cargo test --locked --no-fail-fast

check-assets: ## hold alerts, dashboards, runbooks and docs/metrics.md in step; dashboards by Grafana's own model
	@scripts/tools prometheus alertmanager grafana-sdk >/dev/null
	scripts/check-assets --model

check-docs: ## follow the links of the docs, and run their blocks
	@scripts/tools cc curl >/dev/null
	$(DEMO_BUILD)
	scripts/check-docs

test-image: ## build the image without an engine, and hold it to what it promises; needs root
	scripts/test-image

torture: ## kill the exporter a thousand times during outages
	DR_TORTURE=$${DR_TORTURE:-1000} cargo test --locked --test storage -- --nocapture torture

lint: ## check formatting, clippy and rustdoc; no warning passes
	@scripts/tools cc >/dev/null
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

build: ## build the release binary, target/release/dr-exporter
	@scripts/tools cc >/dev/null
	cargo build --release --locked

demo: ## two regions on this machine, watched and paged; Ctrl-C ends everything
	@[ -x target/debug/examples/demo-clusters ] || echo "demo: compiling, which takes about 4 minutes on 2 cores the first time"
	@scripts/tools cc nats >/dev/null
	@scripts/tools prometheus alertmanager >/dev/null || echo "demo: without alerts, then"
	$(DEMO_BUILD)
	@scripts/demo run

check-demo: ## run the demo: break it, mend it, be paged, end it; nothing is left
	scripts/check-demo

demo-cut: ## cut the link between the demo's regions
	@scripts/demo cut

demo-heal: ## mend it
	@scripts/demo heal

demo-kill-api: ## stop the demo's API
	@scripts/demo kill-api

demo-revive-api: ## start it again
	@scripts/demo revive-api

demo-rotate: ## rotate the demo's secret; DR follows 15 s later
	@scripts/demo rotate

demo-drift: ## rotate it, and DR does not follow
	@scripts/demo drift

demo-pin: ## pin the demo's DR application to an old tag
	@scripts/demo pin

demo-git-down: ## make git unreachable for the demo's Argo CD
	@scripts/demo git-down
