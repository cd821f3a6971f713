# `make demo` and `make test` need nothing installed by hand.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labmon needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/install.sh python3-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dashboard,embedded,dev]'
	@touch $@

.PHONY: install
install: .venv/ready  ## Install labmon and its development tools into .venv

.PHONY: demo
demo: .venv/ready  ## Run a whole lab on this machine: find, measure, queue, store, list
	$(BIN)/labmon demo

.PHONY: servers
servers:  ## Install the servers and tools of the tests (apt-get, as root or with sudo)
	tests/install.sh

.PHONY: check
check: .venv/ready  ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: .venv/ready servers  ## Run all tests, against real servers of their own
	tests/run.sh $(BIN)/pytest

.PHONY: unit
unit: .venv/ready  ## Run only the tests that need no server
	$(BIN)/pytest -q tests/unit

.PHONY: chaos
chaos: .venv/ready servers  ## Kill and fill everything, at length, and print what became of the messages
	CHAOS=long $(BIN)/pytest -q -s tests/chaos

.PHONY: soak
soak: .venv/ready servers  ## Store 1,000 readings a second for an hour: nothing lost, memory flat
	CHAOS=long SOAK_SECONDS=3600 $(BIN)/pytest -q -s tests/chaos -k memory_stays

.PHONY: fuzz
fuzz: .venv/ready  ## Feed every parser of foreign bytes for FUZZ_SECONDS each (60)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(BIN)/pytest -q tests/fuzz

.PHONY: bench
bench: .venv/ready servers  ## Measure every part, each beside a reference from the same run
	for broker in postgres redis rabbitmq; do $(BIN)/python -m tests.bench.broker --broker $$broker || exit; done
	for broker in postgres redis rabbitmq; do $(BIN)/python -m tests.bench.ingest --broker $$broker || exit; done
	$(BIN)/python -m tests.bench.scan
	$(BIN)/python -m tests.bench.store
	$(BIN)/python -m tests.bench.reads
	$(BIN)/python -m tests.bench.collect
	$(BIN)/python -m tests.bench.trust
	$(BIN)/python -m tests.bench.alerts
	$(BIN)/python -m tests.bench.delivery
	$(BIN)/python -m tests.bench.growth
	$(BIN)/python -m tests.bench.dashboard_api
	$(BIN)/python -m tests.bench.dashboard_pages

.PHONY: format
format: .venv/ready  ## Format the code and regenerate config.example.toml
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/labmon config init config.example.toml --force
	chmod 644 config.example.toml

.PHONY: pictures
pictures: .venv/ready servers  ## Redraw the pictures in examples/ (as root, in network namespaces)
	$(BIN)/python -m tests.pictures.dashboard
	$(BIN)/python -m tests.pictures.scan
	$(BIN)/python -m tests.pictures.status

.PHONY: clean
clean:  ## Remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
