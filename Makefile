# SPDX-License-Identifier: MIT
# The front door to Meson. `make help` lists the targets.
BUILD ?= build
MESONFLAGS ?=
MINUTES ?= 20
STORE ?=
SEED ?=
.DEFAULT_GOAL := all
.PHONY: all deps quickstart test check-all bench chaos soak install format clean help

all: deps $(BUILD)/build.ninja ## build the libraries and the program
	ninja -C $(BUILD)

deps: ## install what is missing of Debian's packages
	@tools/install-deps

quickstart: all ## build, then watch a worker, a cron entry and some tasks
	@tools/quickstart $(BUILD)

test: all ## the whole suite; starts its own servers
	@tools/run-tests $(BUILD)

check-all: test ## test, then sanitizers, valgrind, fuzzers, clang-tidy
	@tools/check-all

chaos: all ## every fault in front of real servers and workers, in a table
	$(BUILD)/tests/chaos/chaos 2>$(BUILD)/chaos.log

soak: all ## faults at random; MINUTES=20, SEED to repeat a run
	$(BUILD)/tests/chaos/chaos --soak $(MINUTES) $(SEED) 2>$(BUILD)/chaos.log

bench: all ## measure every store against the bare loop; STORE for one of them
	@mkdir -p $(BUILD)/bench
	$(BUILD)/tests/bench/bench-stores $(BUILD)/cronq $(BUILD)/bench $(STORE)

install: all ## to the prefix of MESONFLAGS, DESTDIR respected
	meson install -C $(BUILD)

format: ## rewrite the sources with clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

$(BUILD)/build.ninja:
	meson setup $(BUILD) $(MESONFLAGS)

clean: ## remove the build
	rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
