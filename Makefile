# SPDX-License-Identifier: MIT OR Apache-2.0
# Thin: everything is done by the tool (`cli/`), the tests' runner (`tests/`) and cargo.
#
#   make run     the system systems/web.toml in QEMU     SYSTEM= PORT= TIMEOUT= LOG_DIR= MEMORY=
#   make test    host tests, then every booted test      FILTER=
#   make bench   figures, in instructions
#   make iso     an image for a USB stick                SYSTEM= ISO=
#   make fuzz    libFuzzer on everything that reads what others wrote    FUZZ= FUZZ_SECONDS=

SYSTEM ?= systems/web.toml
PORT ?= 8080
TIMEOUT ?=
LOG_DIR ?=
MEMORY ?=
FILTER ?=
FUZZ ?=
FUZZ_SECONDS ?= 60
ISO ?= postern.iso

# rustup's cargo where there is one; cargo itself finds out what builds for the machine.
export PATH := $(HOME)/.cargo/bin:$(PATH)
# The first cargo that works: a rustup without a toolchain has one that doesn't. Looked for after `setup` has run.
CARGO ?= $(shell PATH="$(HOME)/.cargo/bin:$$PATH"; for cargo in cargo /usr/bin/cargo; do \
	$$cargo --version >/dev/null 2>&1 && command -v $$cargo && break; done)
# What runs on the machine only: the executables of the first can't be built for the host, the tests of their libraries can; those of the
# second have their tests in the executable.
PART_LIBRARIES = $(addprefix --package ,sel4 sel4-root-task component root-task pci-server iommu-server timer-server console-server guest-runtime)
GUEST_PROGRAMS = $(addprefix --package ,http nvme)
POSTERN = $(CARGO) run --quiet --release --package postern-cli --bin postern --

.PHONY: run test bench iso check fmt clippy fuzz setup host-test booted-test

run: setup
	@scripts/port-free $(PORT)
	$(POSTERN) run $(SYSTEM) --fetch --port $(PORT) $(if $(TIMEOUT),--timeout $(TIMEOUT)) \
		$(if $(LOG_DIR),--log-dir $(LOG_DIR)) $(if $(MEMORY),--memory $(MEMORY))

test: host-test booted-test

host-test: setup
	$(CARGO) test --no-fail-fast --features system-spec/host
	$(CARGO) test --lib $(PART_LIBRARIES)
	$(CARGO) test --bins $(GUEST_PROGRAMS)

booted-test: setup
	$(CARGO) run --release --package postern-tests --bin postern-tests -- $(FILTER)

bench: setup
	$(CARGO) run --release --package postern-tests --bin postern-bench -- $(FILTER)

iso: setup
	$(POSTERN) iso $(SYSTEM) --iso $(ISO)

check: setup
	$(POSTERN) check $(SYSTEM)

fmt: setup
	$(CARGO) fmt --all

clippy: setup
	$(CARGO) clippy --all-targets --features system-spec/host -- -D warnings
	$(CARGO) clippy --lib $(PART_LIBRARIES) -- -D warnings
	$(CARGO) clippy --lib --profile test $(PART_LIBRARIES) -- -D warnings
	$(CARGO) clippy --bins --profile test $(GUEST_PROGRAMS) -- -D warnings
	$(POSTERN) clippy

# Coverage-guided inputs for everything that reads what others may have spoilt; it sets itself up.
fuzz: setup
	@CARGO=$(CARGO) scripts/fuzz $(FUZZ_SECONDS) $(FUZZ)

setup:
	@scripts/setup
