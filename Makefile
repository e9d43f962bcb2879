# The two commands are `make run` and `make test`; the rest is what they are made of, and `make demo` beside them.
.PHONY: run test demo bench bench-thousand fuzz setup build fmt deny

# Sets up what is missing, and serves on :8080.
run: setup
	@scripts/setup-env
	@scripts/cargo build --release --locked --bin berth
	@scripts/serve

# Sets up what is missing, and runs every check there is.
test:
	@scripts/check

# Runs the deploy loop against the server that `make run` started, and shows it.
demo:
	@scripts/demo

# Measures, side by side, and writes docs/performance.md.
bench: setup
	@scripts/bench

# The same with a thousand containers, which takes some minutes, and writes docs/performance-thousand.md.
bench-thousand: setup
	@scripts/bench thousand

# Has schemathesis look for what the server and its description disagree on, for FUZZ_S seconds (600).
fuzz: setup
	@scripts/setup-images
	@scripts/fuzz

setup:
	@scripts/setup-build
	@scripts/setup-engine

build: setup
	@scripts/cargo build --release --locked --bin berth

fmt:
	cargo fmt

# Licenses, bans and sources of all dependencies, by deny.toml (needs cargo-deny). `cargo deny check advisories` fetches
# the list of advisories, too.
deny:
	cargo deny check licenses bans sources
