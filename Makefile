# Needs CPython 3.11 or newer and the package registries that pip reaches; everything else it makes itself.
#   make demo      an order travels through three Dapr apps (examples/01-orders)
#   make test      lint and the whole suite; as root on Debian it also installs the servers that the tests start
#   make bench     measure a sidecar: make bench ARGS="--floor --peer"
#   make bench-check   has a request become dearer? CPU against the floor of the same run, in under three minutes
#   make bench-report  docs/performance.md anew, beside the Go sidecar, in half an hour on a quiet machine

ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
VENV := .venv
BIN := $(VENV)/bin
DEMO := .venv-demo

# Commands of the environment, and tools that came into it as wheels, go before the machine's.
WITH_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench bench-check bench-report servers venv python clean check-lint check-ruff check-format check-types check-imports

help:
	@sed -n 's/^#   //p' Makefile

python:
	@test -n "$(PYTHON)" || { echo "Pillion needs Python 3.11 or newer on the PATH; or say make PYTHON=/path/to/python"; exit 1; }

venv: python
	@$(PYTHON) tools/venv.py $(VENV) --extra dev

demo: python
	@$(PYTHON) tools/venv.py $(DEMO) --copy -r examples/01-orders/requirements.txt
	@$(DEMO)/bin/python examples/01-orders/demo.py

# Lint goes first and does not keep the tests from running: one run shows everything. The runner's closing line is last.
test: venv servers
	@status=0; $(MAKE) --no-print-directory -k check-lint || { status=1; echo "LINT FAILED, see above"; }; \
	$(WITH_VENV) $(BIN)/python -m pytest $(ARGS) || status=1; exit $$status

lint: venv
	@$(MAKE) --no-print-directory -k check-lint

check-lint: check-ruff check-format check-types check-imports

check-ruff:
	@echo "ruff check"; $(BIN)/ruff check --quiet .

check-format:
	@echo "ruff format"; $(BIN)/ruff format --quiet --check .

check-types:
	@echo "mypy --strict"; $(BIN)/mypy --no-error-summary

check-imports:
	@echo "lint-imports"; out="$$($(BIN)/lint-imports --no-logo 2>&1)" || { echo "$$out"; exit 1; }

servers: venv
	@$(BIN)/python tools/needs.py

bench: venv
	@$(WITH_VENV) $(BIN)/python -m bench $(ARGS)

bench-check: venv
	@$(WITH_VENV) $(BIN)/python -m bench --check

bench-report: venv
	@$(MAKE) --no-print-directory -C bench/peer
	@$(WITH_VENV) $(BIN)/python -m bench --peer --floor --work all --seconds 1 --mixture --growth --page $(ARGS)

clean:
	rm -rf $(VENV) $(DEMO) build dist tests/h2spec/bin tests/scenes/js/node_modules tests/scenes/sdk118/.venv
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
