# The ways into Warrener. `make up` is all a user needs; the rest is for working on Warrener.
# tools/setup is idempotent and takes a fraction of a second once everything is there.

SHELL := /bin/bash
BIN := .venv/bin
PYTEST := $(BIN)/pytest

.PHONY: help up test test-fast lint bench bench-large bench-telemetry validate-models screenshots \
    clean setup setup-dev

help:
	@echo 'make up [ARGS="-d --nodes 3"]  set up what is missing, then start a cluster and its balancer'
	@echo 'make test [ARGS="-k NAME"]     lint, types, imports, unit tests, tests on a real cluster'
	@echo 'make test-fast                 the same without a broker'
	@echo 'make lint                      ruff, mypy, import-linter'
	@echo 'make bench [ARGS=...]          Warrener, HAProxy and straight connections side by side'
	@echo 'make bench-telemetry           what metrics, history and page cost: on and off side by side'
	@echo 'make bench-large               how long 5,000 queues take to declare, show, compare'
	@echo 'make validate-models           the planner held against textbooks, simulations, and a real cluster'
	@echo 'make screenshots               the pictures in docs/, taken anew of a real cluster'
	@echo 'make clean                     remove what was built (never .warrener, which has your data)'

# A Prometheus is run beside the cluster where there is one; ARGS=--no-prometheus: not.
up: setup
	@exec $(BIN)/warrener up $$(command -v prometheus >/dev/null && echo --with-prometheus) $(ARGS)

setup:
	@tools/setup runtime

setup-dev:
	@tools/setup dev

lint: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: lint
	$(PYTEST) -m "not slow" tests/unit tests/fuzz tests/property

test: lint
	@tools/setup integration
	$(BIN)/python -m tests.lanes $(ARGS)

bench: setup
	@exec $(BIN)/warrener bench compare $(ARGS)

# Ten minutes, most of it to have enough rounds: what is looked for is a few hundredths.
bench-telemetry: setup
	@exec $(BIN)/warrener bench compare --rounds 7 --seconds 10 --workloads classic-6,quorum-6 \
	    --paths warrener-unobserved,warrener-observed $(ARGS)

bench-large: setup-dev
	@tools/setup integration
	WARRENER_LARGE=1 WARRENER_LARGE_QUORUM=1000 WARRENER_LARGE_ROUNDS=5 $(PYTEST) -s -q tests/integration/test_large.py

validate-models: setup-dev
	@tools/setup integration
	$(PYTEST) -q tests/unit/models tests/unit/planner
	@mkdir -p bench-results
	$(BIN)/python -m warrener.bench.validate --json bench-results/validation.json $(ARGS)

screenshots: setup-dev
	@tools/setup integration
	$(BIN)/python -m tests.pictures $(ARGS)

clean:
	rm -rf .venv .setup build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache tests/integration/node/node_modules
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
