# Needs Python 3.11 or newer and make, nothing else. `make` lists the tasks.

.DEFAULT_GOAL := help
.PHONY: help env dev test check tidy faults bench contracts

# Any Python >= 3.11 will do; PYTHON=/path/to/python chooses one.
PYTHON ?=
# Options of the command behind a task: make dev ARGS="--port 3000"
ARGS ?=
UV := uv>=0.9,<1
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --durations=12 --durations-min=5

help:  ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

env: .venv/installed  ## create .venv from the lock; the command line is then .venv/bin/bedplate

dev: .venv/installed  ## run the example agent on http://127.0.0.1:2024 (ARGS="--config ... --port ...")
	@$(BIN)/bedplate dev --config examples/support-desk/langgraph.json $(ARGS)

test: .venv/installed  ## run all tests but the benchmarks
	$(PYTEST) tests --ignore=tests/bench $(ARGS)

check: .venv/installed  ## formatting, lint, types and the house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(PYTEST) -q tests/tidy

tidy: .venv/installed  ## only the house rules
	$(PYTEST) -q tests/tidy $(ARGS)

faults: .venv/installed  ## the tests that kill, pause and lose processes and servers
	$(PYTEST) tests/faults $(ARGS)

bench: .venv/installed  ## measure the numbers that the documentation quotes
	$(BIN)/python tests/bench/bench.py $(ARGS)

contracts: .venv/installed  ## write proto/published and docs/configuration.md anew
	$(BIN)/bedplate contracts
	$(BIN)/bedplate configuration > docs/configuration.md

# uv stays in the environment it manages (--inexact), so that nothing has to be installed outside.
.venv/installed: pyproject.toml uv.lock
	@set -e; \
	if [ ! -x $(BIN)/python ]; then \
	  for python in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3 python); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then found="$$python"; break; fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo "Python 3.11 or newer with venv is needed and was not found" >&2; \
	    echo "(on Debian and Ubuntu: apt install python3-venv; or: make env PYTHON=/path/to/python)" >&2; \
	    exit 1; \
	  fi; \
	  echo "creating .venv with $$found"; \
	  "$$found" -m venv .venv; \
	fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV)'; \
	VIRTUAL_ENV= UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv sync --quiet --frozen --all-extras --inexact \
	  --python $(BIN)/python; \
	touch .venv/installed
