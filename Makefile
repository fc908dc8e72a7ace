# `make demo` and `make test` set up all that they need: a virtual environment in .venv, and for the tests the real
# command where npm is there. Nothing is installed outside this directory.

# The newest Python from 3.11 on that is on the PATH, or the one that PYTHON names.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
CLAUDE_VERSION := 2.1.197
CLAUDE := .cache/claude/node_modules/.bin/claude
# Two workers: a test of the supervisor is mostly waiting for processes.
WORKERS ?= 2

.PHONY: demo test check bench format clean

demo: $(VENV)/.runtime
	$(BIN)/agentpool demo

test: $(VENV)/.test claude
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.runtime
	$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .cache .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "agentpool needs Python 3.11 or newer: install it, or: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[check]'
	@touch $@

# The tests that talk to the real command are skipped, and the run says so, where it cannot be had.
.PHONY: claude
claude:
	@if [ -x $(CLAUDE) ]; then :; \
	elif command -v npm >/dev/null 2>&1; then \
		npm install --silent --no-audit --no-fund --prefix .cache/claude @anthropic-ai/claude-code@$(CLAUDE_VERSION) \
			|| echo "npm could not install the real command: the tests that talk to it are skipped"; \
	else echo "npm is not here: the tests that talk to the real command are skipped"; fi
