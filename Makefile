# The menu: everything a developer or a first-time user runs.
#   make up       install what a node needs, build, start a one-node cluster
#   make test     install what the tests need, run every test
#   make check    formatting, lints and tests: what CI runs
#   make torture  kill, stall and cut off API servers and etcd for SECONDS=3600 each, and check what clients saw
#   make load     ask API servers for more than they can do, SCALE=10 times as much as `make test` does
#   make fuzz     feed decoders with anything for SECONDS=60 each (TARGETS="json yaml": only these)
#   make images   build the example images from Debian packages and import them
#   make down     stop a cluster started with `kaji up --detach`
#   make reset    remove every trace of the cluster

SHELL := /bin/bash
TARGET := $(shell uname -m)-unknown-linux-gnu
# A static binary runs in an empty image and on any distribution.
RELEASE_FLAGS := -C target-feature=+crt-static
KAJI := target/$(TARGET)/release/kaji
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# NODE_PACKAGES: for `kaji up`; TEST_PACKAGES: what the tests look with.
NODE_PACKAGES := containerd runc containernetworking-plugins
TEST_PACKAGES := $(NODE_PACKAGES) iproute2 nftables busybox-static openssl etcd-server faketime
BUILD_PACKAGES := gcc libc6-dev make cmake

.PHONY: up build test check torture load fuzz images down reset packages test-packages cargo

up: packages build
	$(SUDO) $(KAJI) up $(ARGS)

build: cargo
	RUSTFLAGS="$(RELEASE_FLAGS)" cargo build --release --target $(TARGET) -p kaji

test: test-packages cargo
	./scripts/test.sh

check: cargo
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) test

torture: test-packages cargo
	KAJI_TORTURE_SECONDS=$(or $(SECONDS),60) cargo test -p kaji --test it torture -- --nocapture --test-threads=1

load: test-packages cargo
	KAJI_LOAD_SCALE=$(or $(SCALE),10) cargo test -p kaji --test it load -- --nocapture

fuzz: cargo
	./scripts/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

images: build
	$(SUDO) ./examples/images/build.sh $(abspath $(KAJI)) $(ARGS)

down:
	$(SUDO) $(KAJI) down $(ARGS)

reset:
	$(SUDO) $(KAJI) reset $(ARGS)

packages:
	@./scripts/packages.sh $(NODE_PACKAGES) $(BUILD_PACKAGES)
	@command -v kubectl >/dev/null || ./scripts/packages.sh kubernetes-client

test-packages:
	@./scripts/packages.sh $(TEST_PACKAGES) $(BUILD_PACKAGES)
	@command -v kubectl >/dev/null || ./scripts/packages.sh kubernetes-client

cargo:
	@command -v cargo >/dev/null || { echo "Rust is needed to build Kaji: install it from https://rustup.rs, then run make again." >&2; exit 1; }
